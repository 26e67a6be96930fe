"""Augmentations of training chips: the same for values and labels, any number of bands, seeded."""
