"""Blocks computed by the workers of a Dask cluster."""
