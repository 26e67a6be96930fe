"""The block bootstrap: right spread, same answer for the same seed, whatever the order of the pieces."""

from __future__ import annotations

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.transform import Affine

from geoseg.assess.bootstrap import BlockSums, block_size, bootstrap
from geoseg.errors import SettingsError
from geoseg.raster.georeference import Georeference

UTM = Georeference(CRS.from_epsg(32614), Affine(30, 0, 500_000, 0, -30, 5_000_000))
SHAPE = (1000, 2000)


def share(sums):
    return {"share": sums[:, 0] / np.maximum(sums.sum(axis=1), 1)}


def gather(values, order=None, size=16):
    sums = BlockSums(size, values.shape[1])
    for i in order if order is not None else range(len(values)):
        sums.add(divmod(int(i), 10), values[i])
    return sums


def test_the_interval_of_a_mean_is_that_of_statistics():
    """Equal blocks: the bootstrap's standard error is that of the mean of independent blocks."""
    rng = np.random.default_rng(0)
    right = rng.integers(0, 101, 400)
    found = bootstrap(gather(np.stack([right, 100 - right], axis=1)), share, replicates=4000)["share"]
    error = (right / 100).std() / np.sqrt(400)
    assert found[0] == pytest.approx(right.mean() / 100 - 1.96 * error, abs=0.002)
    assert found[1] == pytest.approx(right.mean() / 100 + 1.96 * error, abs=0.002)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(200):
        right = np.clip(rng.normal(70, 15, 60), 0, 100).astype(int)
        low, high = bootstrap(
            gather(np.stack([right, 100 - right], axis=1)), share, replicates=200, seed=trial
        )["share"]
        hits += low <= 0.695 <= high
    assert 175 <= hits <= 199


def test_alike_pixels_widen_the_interval():
    """Errors that come in whole blocks: as wide as the number of blocks says, not the number of pixels."""
    values = np.array([[1000, 0], [0, 1000]] * 20)
    low, high = bootstrap(gather(values), share)["share"]
    assert high - low > 0.25


def test_order_and_pieces_do_not_matter():
    values = np.random.default_rng(2).integers(0, 50, (30, 4))
    expected = bootstrap(gather(values), share)["share"]
    rng = np.random.default_rng(3)
    np.testing.assert_array_equal(bootstrap(gather(values, rng.permutation(30)), share)["share"], expected)
    pieces = BlockSums(16, 4)
    for i in rng.permutation(30):
        part = rng.integers(0, values[i] + 1)
        pieces.add(divmod(int(i), 10), part)
        pieces.add(divmod(int(i), 10), values[i] - part)
    np.testing.assert_array_equal(bootstrap(pieces, share)["share"], expected)
    np.testing.assert_array_equal(pieces.total(), values.sum(axis=0))
    assert not np.array_equal(bootstrap(pieces, share, seed=1)["share"], expected)


def test_columns_can_be_selected():
    values = np.random.default_rng(4).integers(0, 3, (25, 6))
    chosen = gather(values).select(np.array([4, 1]))
    np.testing.assert_array_equal(chosen.total(), values.sum(axis=0)[[4, 1]])
    np.testing.assert_array_equal(chosen.matrix().toarray(), values[np.any(values != 0, axis=1)][:, [4, 1]])


def test_every_block_is_drawn_as_often_as_any_other():
    """Of two blocks, one right and one wrong, both come twice in a quarter of the draws."""
    draws = []

    def watch(sums):
        draws.append(share(sums)["share"])
        return share(sums)

    bootstrap(gather(np.array([[1, 0], [0, 1]])), watch)
    found = np.concatenate(draws)
    assert abs((found == 0).mean() - 0.25) < 0.05
    assert abs((found == 1).mean() - 0.25) < 0.05


def test_one_block_gives_no_interval():
    assert np.isnan(bootstrap(gather(np.array([[5, 3]])), share)["share"]).all()


def test_sides_of_blocks():
    assert block_size(None, UTM, SHAPE) == 250
    assert block_size(None, UTM, (9000, 9000)) == 512
    assert block_size(None, UTM, (50, 60)) == 32
    assert block_size("7.5km", UTM, SHAPE) == 250
    assert block_size("100px", Georeference(), SHAPE) == 100
    with pytest.raises(SettingsError, match=r"--blocks 100m is 3\.3\d pixels"):
        block_size("100m", UTM, SHAPE)
    with pytest.raises(SettingsError, match="no CRS"):
        block_size("100m", Georeference(), SHAPE)
