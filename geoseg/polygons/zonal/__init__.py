"""Statistics of a scene's bands over the pixels of polygons."""
