"""Small maps to refine."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def farmland():
    """A map of fields with speckle and nodata, and the probabilities of its first three classes."""
    random = np.random.default_rng(5)
    fields = np.kron(random.integers(0, 4, (5, 4)), np.ones((7, 8), int))
    scores = random.random((4, *fields.shape)) + 0.6 * (np.arange(4)[:, None, None] == fields)
    shares = scores / scores.sum(0)
    classes = np.array([1, 2, 7, 9], np.uint8)[shares.argmax(0)]
    probabilities = np.rint(shares[:3] * 250).astype(np.uint8)
    empty = random.random(fields.shape) < 0.02
    empty[:9, :7] = True
    classes[empty] = 255
    probabilities[:, empty] = 255
    return classes, probabilities
