"""How alike two maps of the same scene are, and how good each is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.assess.compare import WINDOW, compare, windows
from geoseg.assess.scores import number, score
from geoseg.classes import NODATA
from geoseg.labels.labels import open_labels
from geoseg.maps.class_map_file import open_class_map


def agreement(maps: Sequence[tuple[Path, Path]]) -> dict[str, Any]:
    """Count the valid pixels that show the same class.

    Args:
        maps: Pairs of class maps on one grid.

    Returns:
        ``pixels`` that both show, and ``agreement``, the share of them with the same class (None for none).
    """
    pixels = same = 0
    for first, second in maps:
        one, other = open_class_map(first), open_class_map(second)
        for window in windows(one.shape, WINDOW):
            left, right = one.read(window), other.read(window)
            shown = (left != NODATA) & (right != NODATA)
            pixels += int(shown.sum())
            same += int(np.count_nonzero(left[shown] == right[shown]))
    return {"pixels": pixels, "agreement": number(same / pixels) if pixels else None}


def label_scores(
    maps: Sequence[Path], labels: Sequence[str | os.PathLike[str]], label_column: str | None
) -> dict[str, Any]:
    """Scores of several maps taken together.

    Args:
        maps: Class maps.
        labels: What is true, one file a map.
        label_column: Column of polygons that names the class.

    Returns:
        ``accuracy``, ``miou`` (None where nothing is labelled) and ``labelled_pixels``.
    """
    confusion = np.zeros((256, 256), np.int64)
    for path, truth in zip(maps, labels, strict=True):
        class_map = open_class_map(path)
        opened = open_labels(truth, class_map.path, class_map.legend or None, column=label_column)
        confusion += compare(class_map, opened, block=WINDOW).confusion()
    scores = score(confusion)
    return {
        "accuracy": number(scores.accuracy),
        "miou": number(scores.miou),
        "labelled_pixels": int(confusion.sum()),
    }
