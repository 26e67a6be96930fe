"""Write PMTiles: vector tiles of all zoom levels in one file."""
