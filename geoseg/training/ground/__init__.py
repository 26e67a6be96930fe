"""The ground to train on: scenes with labels, and which fold each part belongs to."""
