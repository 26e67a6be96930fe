"""Class, confidence and probability rasters that open right in QGIS."""
