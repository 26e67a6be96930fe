"""geoseg: crop and land-cover maps from satellite and aerial scenes of any size."""
