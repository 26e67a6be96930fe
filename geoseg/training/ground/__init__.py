"""Labelled scenes, and their split into spatial folds."""
