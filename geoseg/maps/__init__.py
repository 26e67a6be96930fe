"""Write and read class, confidence and probability rasters, with names and styles for QGIS."""
