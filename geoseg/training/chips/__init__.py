"""Training and validation chips, augmented and batched."""
