"""Losses: logits and class indices to one number; ignored pixels change nothing."""
