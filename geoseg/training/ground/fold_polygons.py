"""Folds that somebody drew: a polygon layer with the fold of each polygon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from geoseg.errors import InputError, SettingsError
from geoseg.grid import Window
from geoseg.scene.vector import read_table, to_pixels
from geoseg.training.ground.ground import Ground
from geoseg.training.ground.regions import Region
from geoseg.training.recipe.settings import SplitSettings


def read_fold_polygons(settings: SplitSettings, grounds: Sequence[Ground]) -> list[Region]:
    """Read the polygons of every fold and place them on every scene's grid.

    Args:
        settings: Names the layer and the column with the fold's number.
        grounds: The scenes.

    Raises:
        SettingsError: If the column is missing or holds something else than whole numbers.
        InputError: If the layer cannot be read, or a scene has no transform.
    """
    table = _read(settings)
    regions = []
    for number, ground in enumerate(grounds):
        placed = _in_crs_of(table, ground)
        for fold, rows in placed.groupby("fold"):
            region = _place(rows.geometry.make_valid().union_all(), number, int(fold), ground)
            if region is not None:
                regions.append(region)
    if not regions:
        raise InputError(f"{settings.polygons}: no polygon lies on a scene; check its CRS")
    return regions


def _read(settings: SplitSettings) -> Any:
    import geopandas
    import pandas

    path = settings.polygons
    table = read_table(str(path), "[split] polygons")
    if settings.column not in table.columns:
        raise SettingsError(
            f'{path} has no column "{settings.column}" ([split] column); it has: '
            f"{', '.join(str(name) for name in table.columns if name != 'geometry')}"
        )
    folds = pandas.to_numeric(table[settings.column], errors="coerce")
    wrong = folds.isna() | (folds != folds.round()) | (folds < 0)
    if wrong.any():
        raise SettingsError(
            f'{path}: column "{settings.column}" holds {table[settings.column][wrong].iloc[0]!r}; '
            "folds are whole numbers from 0"
        )
    table = geopandas.GeoDataFrame({"fold": folds.astype(int)}, geometry=table.geometry, crs=table.crs)
    return table[table.geometry.notna() & table.geom_type.isin(["Polygon", "MultiPolygon"])]


def _in_crs_of(table: Any, ground: Ground) -> Any:
    crs = ground.scene.georeference.crs
    return table.to_crs(crs.to_wkt()) if table.crs is not None and crs is not None else table


def _place(geometry: Any, number: int, fold: int, ground: Ground) -> Region | None:
    """A fold's polygons in pixels of a scene; None where they do not touch it."""
    transform = ground.scene.georeference.transform
    if transform is None:
        raise InputError(f"{ground.scene.name} has no transform, so polygons cannot be placed on it")
    pixels = to_pixels(geometry, transform)
    if pixels.is_empty or not all(math.isfinite(value) for value in pixels.bounds):
        return None
    left, top, right, bottom = pixels.bounds
    box = Window.from_bounds(math.floor(top), math.floor(left), math.ceil(bottom), math.ceil(right))
    window = box.intersection(Window.from_shape(ground.shape))
    return None if window is None else Region(number, fold, window, pixels)
