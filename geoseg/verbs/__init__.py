"""The verbs of geoseg, one module each: every one reads as its story."""
