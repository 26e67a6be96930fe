"""Train a network: initial weights, losses, learning rates, averaging, and the training loop."""
