"""List the values in label files, and what each means: a class, no label, or an unknown value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from geoseg.classes import IGNORE
from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.labels.labels import open_labels
from geoseg.labels.polygons import find_column
from geoseg.labels.raster import RasterLabels
from geoseg.labels.values import make_table
from geoseg.scene.scene import Scene
from geoseg.scene.vector import is_vector, read_polygons
from geoseg.training.ground.labelled_scene import STREAM
from geoseg.training.recipe.recipe import Recipe

MOST_VALUES = 1000
"""A raster with more values than this is not a class raster."""


@dataclass(frozen=True)
class LabelValue:
    """One value of a label file.

    Attributes:
        value: The value as text.
        count: Pixels of the scene, or polygons, that have it.
        class_id: The class it means; None for no label.
        is_known: False where training refuses it.
    """

    value: str
    count: int
    class_id: int | None
    is_known: bool = True


@dataclass(frozen=True)
class ValueSurvey:
    """The values of one label file.

    Attributes:
        path: The file.
        kind: "raster" or "polygons".
        column: The attribute that holds the class of polygons.
        values: The values, the most frequent first, without nodata, masked pixels and empty attributes.
        empty: Pixels that are nodata, masked or 255, or polygons without a class.
    """

    path: str
    kind: str
    column: str | None
    values: tuple[LabelValue, ...]
    empty: int

    @property
    def unknown(self) -> tuple[LabelValue, ...]:
        """The values that training refuses."""
        return tuple(value for value in self.values if not value.is_known)

    @property
    def ignored(self) -> tuple[LabelValue, ...]:
        """The values that mean no label."""
        return tuple(value for value in self.values if value.is_known and value.class_id is None)


def survey_values(path: str, scene: Scene, recipe: Recipe) -> ValueSurvey:
    """List the values of a label file.

    Args:
        path: The file.
        scene: The scene that it labels; pixels of a raster outside its grid are not counted.
        recipe: The recipe; its ``[label_values]`` say what values mean.

    Raises:
        InputError: If the file cannot be opened, or does not lie on the scene.
        RunError: If it cannot be read.
    """
    return _of_polygons(path, recipe) if is_vector(path) else _of_raster(path, scene, recipe)


def _of_polygons(path: str, recipe: Recipe) -> ValueSurvey:
    frame, settings = read_polygons(path, "labels").attributes, recipe.label_values
    column = find_column(path, list(frame.columns), settings.column)
    table = make_table(path, recipe.classes, remap=_remap(recipe), ignore=settings.ignore)
    values = []
    for value, count in frame[column].dropna().value_counts().items():
        try:
            values.append(_value(value, int(count), table.id_of_attribute(value)))
        except SceneError:
            values.append(LabelValue(str(value), int(count), None, is_known=False))
    return ValueSurvey(path, "polygons", column, _sorted(values), int(frame[column].isna().sum()))


def _of_raster(path: str, scene: Scene, recipe: Recipe) -> ValueSurvey:
    settings = recipe.label_values
    layer = open_labels(path, scene, recipe.classes, remap=_remap(recipe), ignore=settings.ignore).layer
    assert isinstance(layer, RasterLabels)  # polygons are handled by _of_polygons
    counts: Counter[float] = Counter()
    empty = 0
    rows, cols = scene.shape
    for row in range(0, rows, STREAM):
        for col in range(0, cols, STREAM):
            window = Window(row, col, min(STREAM, rows - row), min(STREAM, cols - col))
            stored, hidden = layer.read_stored(window)
            empty += int(np.count_nonzero(hidden))
            found, number = np.unique(stored[~hidden], return_counts=True)
            counts.update(dict(zip(found.tolist(), number.tolist(), strict=True)))
            if len(counts) > MOST_VALUES:
                raise SceneError(f"{path} holds more than {MOST_VALUES} values, so it is not a class raster")
    values = []
    for value, count in counts.items():
        if value == IGNORE and layer.table.id_of(IGNORE) == IGNORE:
            empty += count
            continue
        ident = layer.table.id_of(int(value)) if float(value).is_integer() else -1
        values.append(_value(f"{value:g}", count, ident))
    return ValueSurvey(path, "raster", None, _sorted(values), empty)


def _value(value: Any, count: int, ident: int) -> LabelValue:
    if ident < 0:
        return LabelValue(str(value), count, None, is_known=False)
    return LabelValue(str(value), count, None if ident == IGNORE else ident)


def _sorted(values: list[LabelValue]) -> tuple[LabelValue, ...]:
    return tuple(sorted(values, key=lambda value: (-value.count, value.value)))


def _remap(recipe: Recipe) -> Mapping[int | str, int] | None:
    return cast("Mapping[int | str, int]", recipe.label_values.remap) or None
