"""PMTiles: polygons cut into vector tiles, zoom level by zoom level, in one file."""
