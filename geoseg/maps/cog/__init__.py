"""Write a Cloud Optimized GeoTIFF as a stream: tiles are compressed while pixels are still computed."""
