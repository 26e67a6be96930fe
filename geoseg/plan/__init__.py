"""Everything that is decided before a pixel is predicted."""
