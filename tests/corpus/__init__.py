"""Odd but valid inputs, each with what has to come out of it."""
