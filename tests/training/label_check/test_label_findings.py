"""What ``geoseg train --check`` says about counts and shifts."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg.training.label_check.findings import of_classes, of_shift, of_statistics, of_training
from geoseg.training.label_check.shift import Offset, Shift
from geoseg.training.label_check.statistics import LabelStatistics
from tests.training.labelled_scenes import CLASSES, make_labelled_scene


def statistics(**changes):
    fields = {
        "pixels": [9000, 8000, 7000], "hectares": None, "patches": [50, 40, 30], "regions": [9, 9, 9],
        "training_regions": [7, 7, 7], "training": [7000, 6000, 5000], "validation": [900, 900, 900],
        "valid": 30000, "on_nodata": 0, "in_rim": 0, "empty_bands": (),
    }  # fmt: skip
    fields |= changes
    return LabelStatistics(
        **{key: np.array(value) if isinstance(value, list) else value for key, value in fields.items()}
    )


@pytest.mark.parametrize(
    ("changes", "code", "level", "says"),
    [
        ({"pixels": [9000, 0, 7000]}, "class-absent", "warn", "class 5 (grass) has no labelled pixel"),
        ({"training": [7000, 0, 5000]}, "class-not-trained", "warn", "8,000 pixels"),
        ({"validation": [900, 0, 900]}, "class-not-validated", "warn", "part that validates"),
        ({"training": [7000, 499, 5000]}, "class-rare", "warn", "499 training pixels (fewer than 500)"),
        ({"patches": [50, 4, 30]}, "class-rare", "warn", "4 patches (fewer than 5)"),
        (
            {"regions": [9, 4, 9]},
            "class-in-few-parts",
            "note",
            "4 parts of the split, fewer than the 5 folds",
        ),
        ({"pixels": [90000, 450, 7000]}, "class-small", "note", "0.46% of the labels"),
        (
            {"training": [7000, 500, 5000], "patches": [50, 5, 30], "regions": [9, 5, 9]},
            "classes",
            "ok",
            "every",
        ),
    ],
)
def test_classes_that_are_missing_or_rare(changes, code, level, says):
    (finding,) = of_classes(statistics(**changes), CLASSES, 5)
    assert (finding.code, finding.level) == (code, level)
    assert says in finding.message
    assert (finding.fix == "") == (level == "ok")


def test_every_class_has_its_own_line():
    found = of_classes(statistics(pixels=[0, 0, 7000], training=[0, 0, 400]), CLASSES, 5)
    assert [finding.code for finding in found] == ["class-absent", "class-absent", "class-rare"]


@pytest.mark.parametrize(
    ("changes", "code", "level"),
    [
        ({}, "unlabelled", "ok"),
        ({"valid": 100_000}, "unlabelled", "note"),
        ({"valid": 0}, "no-valid-pixel", "stop"),
        ({}, "labels-on-nodata", "ok"),
        ({"on_nodata": 100}, "labels-on-nodata", "note"),
        ({"on_nodata": 300}, "labels-on-nodata", "warn"),
        ({"in_rim": 10}, "rim", "note"),
    ],
)
def test_what_is_labelled(changes, code, level):
    found = {finding.code: finding.level for finding in of_statistics(statistics(**changes), rim=1)}
    assert found[code] == level
    assert ("rim" in found) == ("in_rim" in changes)


def test_what_is_left_to_train_and_to_validate():
    assert of_training(statistics(), ("red", "nir")) == []
    found = of_training(
        statistics(training=[0, 0, 0], validation=[0, 0, 0], empty_bands=(1,)), ("red", "nir")
    )
    assert [finding.code for finding in found] == ["nothing-trains", "nothing-validates", "band-empty"]
    assert all(finding.level == "stop" for finding in found)
    assert "band nir" in found[2].message


@pytest.mark.parametrize(
    ("rows", "cols", "error", "level", "way"),
    [
        (0.3, -0.4, 0.1, "ok", ""),
        (0.6, -0.4, 0.1, "note", "6 m north and 4 m east"),
        (-0.6, 0.4, 0.7, "ok", ""),
        (-1.2, 0.4, 0.1, "warn", "12 m south and 4 m west"),
        (0.0, 2.0, 0.1, "warn", "rim = 2"),
    ],
)
def test_how_far_is_too_far(tmp_path, rows, cols, error, level, way):
    ground = make_labelled_scene(tmp_path)
    finding = of_shift(Shift(Offset(rows, cols, error), 0.5, 1000), ground)
    assert (finding.code, finding.level) == ("shift", level)
    assert way in finding.fix
    unknown = of_shift(Shift(None, 0.0, 10, "there are only 10"), ground)
    assert (unknown.code, unknown.level) == ("shift-unknown", "note")
    assert "there are only 10" in unknown.message
