"""Labelled scenes, their split into spatial folds, and the statistics of their bands."""
