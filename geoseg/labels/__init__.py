"""Labels (ground truth): rasters and polygons, read on a scene's grid."""
