"""Clean up a class map before polygons are traced: smooth, open, close, fill holes, sieve."""
