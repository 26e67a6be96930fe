"""What quantizing changed is counted on pixels that both maps show, and over all scenes together."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from geoseg.verbs.quantize import agreement, label_scores


def write(path, values):
    values = np.asarray(values, np.uint8)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "nodata": 255}
    with rasterio.open(path, "w", height=values.shape[0], width=values.shape[1], **profile) as raster:
        raster.write(values, 1)
    return path


def test_nodata_of_either_map_is_not_counted(tmp_path):
    one = write(tmp_path / "1.tif", [[1, 2, 255, 255], [1, 1, 1, 2]])
    two = write(tmp_path / "2.tif", [[1, 1, 255, 1], [255, 1, 1, 2]])
    assert agreement([(one, two)]) == {"pixels": 5, "agreement": 0.8}
    assert agreement([(one, two), (one, one)]) == {"pixels": 11, "agreement": pytest.approx(10 / 11)}


def test_maps_without_a_common_pixel_agree_on_nothing(tmp_path):
    empty = write(tmp_path / "1.tif", [[255, 255]])
    assert agreement([(empty, empty)]) == {"pixels": 0, "agreement": None}


def test_scores_are_of_all_maps_together(tmp_path):
    first = write(tmp_path / "1.tif", [[1, 1, 2, 2]])
    second = write(tmp_path / "2.tif", [[1, 1]])
    truth = [write(tmp_path / "3.tif", [[1, 2, 2, 255]]), write(tmp_path / "4.tif", [[1, 1]])]
    scores = label_scores([first, second], truth, None)
    assert scores["labelled_pixels"] == 5
    assert scores["accuracy"] == pytest.approx(4 / 5)
    assert scores["miou"] == pytest.approx((3 / 4 + 1 / 2) / 2)
