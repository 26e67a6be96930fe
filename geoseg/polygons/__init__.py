"""Class maps to polygons: no seams, no gaps, no overlaps, with attributes, in six file formats."""
