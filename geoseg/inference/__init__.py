"""Chips through the network, stitched back into blocks of probabilities."""
