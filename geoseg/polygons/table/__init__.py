"""The table of polygons: its columns, its rows in memory and on disk."""
