"""A Cloud Optimized GeoTIFF that is compressed while its pixels come."""
