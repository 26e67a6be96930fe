"""Zonal statistics: bands and spectral indices of a scene, summarised over the pixels of polygons."""
