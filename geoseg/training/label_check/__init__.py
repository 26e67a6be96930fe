"""Check labels before training: their values, classes, polygons, and their shift against the image."""
