"""Simplify and smooth the borders between polygons; the polygons stay a valid coverage."""
