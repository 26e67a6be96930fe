"""Places where a confident map contradicts its labels."""
