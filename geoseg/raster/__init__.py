"""Rasters in general: georeference, pixel sizes, legends, connected components, GDAL handles."""
