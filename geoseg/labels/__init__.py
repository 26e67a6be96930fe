"""Ground truth: label rasters and label polygons on a scene's grid."""
