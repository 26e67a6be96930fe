"""Run chips through the network, and stitch their probabilities into blocks."""
