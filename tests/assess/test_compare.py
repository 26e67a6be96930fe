"""Comparing a map with labels: right counts, for every size of window, and nothing from ignored pixels."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from geoseg.assess.boundary import Tolerance
from geoseg.assess.calibration import bin_sums
from geoseg.assess.compare import CHIP, compare, pieces
from geoseg.assess.summary import summarise_labels
from geoseg.classes import LandClass
from geoseg.errors import InputError, SceneError
from geoseg.grid import Window, tiles
from geoseg.labels.labels import open_labels
from geoseg.maps.class_map_file import open_class_map
from tests.assess.maps import NAMES, random_pair, write

CLASSES = tuple(LandClass(i, name, "#112233") for i, name, _ in NAMES)
TOLERANCES = (Tolerance(1), Tolerance(2.5))


def prepare(folder, labels, mapped, confidence=None, **profile):
    class_map = write(folder / "map.tif", mapped, names=NAMES, **profile)
    write(folder / "labels.tif", labels, **profile)
    if confidence is not None:
        write(folder / "conf.tif", confidence, **profile)
    opened = open_class_map(class_map, folder / "conf.tif" if confidence is not None else None)
    return opened, open_labels(folder / "labels.tif", class_map, opened.legend)


def report(class_map, labels, *, block=40, **options):
    counts = compare(class_map, labels, block=block, tolerances=TOLERANCES, **options)
    pixel_sizes = class_map.pixel_sizes()
    return counts, summarise_labels(
        counts,
        CLASSES,
        TOLERANCES,
        area_unit=None if pixel_sizes is None else pixel_sizes.area_unit,
        replicates=100,
    )


def test_counts_are_right(tmp_path):
    labels, mapped, confidence = random_pair(0, (300, 280))
    confidence[100:110] = 255  # not known, although mapped
    counts, found = report(*prepare(tmp_path, labels, mapped, confidence))
    known = (labels != 255) & (mapped != 255)
    expected = metrics.confusion_matrix(labels[known], mapped[known], labels=[1, 2, 7])
    np.testing.assert_array_equal(found["confusion"]["pixels"], expected)
    sure = known & (confidence != 255)
    np.testing.assert_array_equal(counts.calibration(), bin_sums(confidence[sure], (labels == mapped)[sure]))
    assert found["pixels"] == {
        "compared": known.sum(),
        "labelled": (labels != 255).sum(),
        "labelled_but_nodata_in_map": ((labels != 255) & (mapped == 255)).sum(),
        "mapped": (mapped != 255).sum(),
    }
    for (row, col), (compared, wrong) in counts.chips.items():
        chip = np.s_[row * CHIP : (row + 1) * CHIP, col * CHIP : (col + 1) * CHIP]
        assert (compared, wrong) == (known[chip].sum(), (known & (labels != mapped))[chip].sum())
    areas = found["areas"]["classes"]
    assert areas[0]["mapped"] == pytest.approx(0.09 * (mapped == 1).sum(), rel=2e-3)
    json.dumps(found)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1000), size=st.integers(5, 130), block=st.integers(5, 70))
def test_windows_do_not_change_the_report(tmp_path_factory, seed, size, block):
    folder = tmp_path_factory.mktemp("maps")
    rasters = prepare(folder, *random_pair(seed))
    _, expected = report(*rasters, block=block)
    _, found = report(*rasters, block=block, window_size=size)
    assert found == expected


def test_ignored_pixels_change_nothing(tmp_path):
    """Whatever the map shows where there is no label, and however many such pixels there are."""
    labels, mapped, confidence = random_pair(5, empty=0.5)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    _, expected = report(*prepare(tmp_path / "a", labels, mapped, confidence))
    other = np.where((labels == 255) & (mapped != 255), 7, mapped).astype(np.uint8)
    unsure = np.where(labels == 255, 3, confidence).astype(np.uint8)
    _, found = report(*prepare(tmp_path / "b", labels, other, unsure))
    for key in ("classes", "confusion", "boundary", "calibration"):
        assert found[key] == expected[key], key
    assert found["summary"] == expected["summary"]


def test_all_background_scores_near_zero(tmp_path):
    labels, mapped, _ = random_pair(1)
    many = np.random.default_rng(0).integers(0, 20, labels.shape).astype(np.uint8)
    class_map = open_class_map(write(tmp_path / "m.tif", np.zeros_like(mapped)))
    truth = open_labels(write(tmp_path / "l.tif", many), class_map.path)
    classes = tuple(LandClass(i, f"c{i}", "#000000") for i in range(20))
    counts = compare(class_map, truth, block=40)
    found = summarise_labels(counts, classes, (), area_unit=None, replicates=10)
    assert found["summary"]["miou"] < 0.005


def test_a_class_that_is_nowhere_is_null(tmp_path):
    labels, mapped, _ = random_pair(2)
    labels[labels == 7], mapped[mapped == 7] = 255, 255
    _, found = report(*prepare(tmp_path, labels, mapped))
    row = found["classes"][2]
    assert (row["iou"], row["iou_interval"], row["f1"], row["precision"]) == (None, None, None, None)
    present = [row["iou"] for row in found["classes"][:2]]
    assert found["summary"]["miou"] == pytest.approx(np.mean(present))
    assert found["calibration"] is None
    assert found["summary"]["ece"] is None


def test_intervals_hold_the_score(tmp_path):
    labels, mapped, confidence = random_pair(3, (400, 400))
    _, found = report(*prepare(tmp_path, labels, mapped, confidence), block=20)
    for name in ("accuracy", "miou", "fwiou", "mean_f1", "ece"):
        low, high = found["summary"][f"{name}_interval"]
        assert low < found["summary"][name] + 0.01
        assert high > found["summary"][name] - 0.01
        assert 0 < high - low < 0.1
    assert found["bootstrap"]["blocks"] == 400
    assert found["warnings"] == []


def test_few_blocks_are_warned_of(tmp_path):
    rasters = prepare(tmp_path, *random_pair(4))
    assert "only 12 blocks" in report(*rasters, block=30)[1]["warnings"][0]
    _, one = report(*rasters, block=500)
    assert "no intervals" in one["warnings"][0]
    assert one["summary"]["accuracy_interval"] is None


def test_adjusted_areas_by_hand(tmp_path):
    """Half of what is mapped as 1 is labelled 2: half of its area goes there, also where nothing is labelled."""
    mapped = np.ones((40, 40), np.uint8)
    mapped[:, 20:] = 2
    labels = np.full((40, 40), 255, np.uint8)
    labels[:10, :20], labels[10:20, :20], labels[:20, 20:] = 1, 2, 2
    _, found = report(*prepare(tmp_path, labels, mapped))
    areas = found["areas"]["classes"]
    assert areas[0]["estimated"] == pytest.approx(areas[0]["mapped"] / 2)
    total = sum(row["mapped"] for row in areas)
    assert sum(row["estimated"] for row in areas) == pytest.approx(total)


def test_a_mapped_class_without_labels_leaves_areas_open(tmp_path):
    labels, mapped, _ = random_pair(9)
    labels[mapped == 7] = 255
    _, found = report(*prepare(tmp_path, labels, mapped))
    assert any("no label lies where water is mapped" in text for text in found["warnings"])
    assert {row["estimated"] for row in found["areas"]["classes"]} == {None}
    assert found["areas"]["classes"][2]["mapped"] > 0


def test_nothing_in_common_is_refused(tmp_path):
    _, mapped, _ = random_pair(6)
    with pytest.raises(InputError, match="no pixel has both"):
        report(*prepare(tmp_path, np.where(mapped == 255, 1, 255).astype(np.uint8), mapped))


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32"])
def test_maps_of_other_tools(tmp_path, dtype):
    labels, mapped, _ = random_pair(7)
    wide = np.where(mapped == 255, 0, mapped).astype(dtype)
    class_map = open_class_map(write(tmp_path / "m.tif", wide, nodata=0))
    truth = open_labels(write(tmp_path / "l.tif", labels), class_map.path, CLASSES)
    counts = compare(class_map, truth, block=40)
    known = (labels != 255) & (mapped != 255)
    assert counts.confusion().sum() == known.sum()
    assert np.trace(counts.confusion()) == (labels == mapped)[known].sum()


def test_a_confidence_raster_must_be_one(tmp_path):
    _, mapped, confidence = random_pair(8)
    path = write(tmp_path / "m.tif", mapped)
    with pytest.raises(SceneError, match=r"confidence raster .* holds int16; it must be uint8"):
        open_class_map(path, write(tmp_path / "c.tif", confidence.astype(np.int16)))
    with pytest.raises(SceneError, match=r"d\.tif has 50 x .* same run"):
        open_class_map(path, write(tmp_path / "d.tif", confidence[:50]))
    with pytest.raises(SceneError, match=r"missing\.tif"):
        open_class_map(path, tmp_path / "missing.tif")
    with rasterio.open(write(tmp_path / "p.tif", confidence), "r+") as file:
        file.write_colormap(1, {1: (255, 0, 0)})
    with pytest.raises(SceneError, match="palette"):
        open_class_map(path, tmp_path / "p.tif")
    opened = open_class_map(path, write(tmp_path / "e.tif", np.full_like(confidence, 180)))
    with pytest.raises(SceneError, match="holds 180"):
        opened.read_confidence(Window(0, 0, 5, 5))


@given(
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)), size=st.integers(1, 40), block=st.integers(1, 40)
)
@settings(max_examples=40, deadline=None)
def test_windows_and_pieces_tile_the_raster(shape, size, block):
    seen = np.zeros(shape, int)
    for window in tiles(shape, size):
        part = np.zeros(window.shape, int)
        for (i, j), place in pieces(window, block):
            part[place] += 1
            rows, cols = np.nonzero(np.ones_like(part[place]))
            assert (rows + place[0].start + window.row).min() // block == i
            assert (cols + place[1].start + window.col).max() // block == j
        seen[window.slices()] += part
    assert (seen == 1).all()
