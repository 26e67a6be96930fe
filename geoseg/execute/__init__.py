"""A planned run from its first block to published files."""
