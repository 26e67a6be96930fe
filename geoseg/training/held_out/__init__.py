"""Measure trained networks on regions that they were not trained on."""
