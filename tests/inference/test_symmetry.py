"""Test-time augmentation: every symmetry once, undone exactly, and one answer whichever way a chip lies."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg.grid import Grid
from geoseg.inference.backends.tta import SYMMETRIES, SymmetricBackend
from geoseg.inference.sums import HostSums, begin_sums
from tests.inference.test_stitching import FakeBackend, identity


def chips(seed=0):
    return np.random.default_rng(seed).random((2, 3, 12, 12), dtype=np.float32)


def lopsided(chip):
    """Probabilities that depend on the place in the chip: the worst a network can do."""
    rows, cols = np.indices(chip.shape[1:])
    share = (0.3 + 0.5 * chip[0]) * (rows * 2 + cols) / (3 * len(rows))
    return np.stack([share, 1 - share])


def backend(function, tta):
    return SymmetricBackend(FakeBackend(function, batch_size=2), tta)


@pytest.mark.parametrize("tta", SYMMETRIES)
def test_what_depends_on_the_pixel_alone_comes_back(tta):
    assert np.allclose(backend(identity, tta).probabilities(chips())[:, 0], chips()[:, 0], atol=1e-6)


@pytest.mark.parametrize(("tta", "count"), [("none", 1), ("flips", 4), ("d4", 8)])
def test_every_symmetry_is_seen_once(tta, count):
    inner = FakeBackend(identity, batch_size=2)
    SymmetricBackend(inner, tta).probabilities(chips())
    assert len(inner.seen) == 2 * count, "eight different views of each chip"


@pytest.mark.parametrize("tta", ["flips", "d4"])
def test_a_mirrored_chip_gets_the_mirrored_answer(tta):
    straight, mirrored = (
        backend(lopsided, tta).probabilities(view) for view in (chips(), chips()[..., ::-1].copy())
    )
    assert np.allclose(straight, mirrored[..., ::-1], atol=1e-6)
    assert not np.allclose(lopsided(chips()[0]), lopsided(chips()[0, :, :, ::-1])[..., ::-1], atol=1e-3)


def test_a_turned_chip_gets_the_turned_answer_with_d4():
    turned = np.rot90(chips(), 1, (-2, -1)).copy()
    straight, other = (backend(lopsided, "d4").probabilities(view) for view in (chips(), turned))
    assert np.allclose(np.rot90(straight, 1, (-2, -1)), other, atol=1e-6)


def test_probabilities_stay_probabilities():
    result = backend(lopsided, "d4").probabilities(chips())
    assert result.dtype == np.float32
    assert np.allclose(result.sum(1), 1, atol=1e-6)


def test_a_backend_on_a_device_that_keeps_no_sums_there_is_averaged_too():
    inner = FakeBackend(identity, batch_size=2)
    inner.device = "cuda:0"
    grid = Grid((24, 24), 12, 4)
    begun = begin_sums(SymmetricBackend(inner, "flips"), grid, grid.blocks(24)[0], 2)
    assert isinstance(begun, HostSums)
