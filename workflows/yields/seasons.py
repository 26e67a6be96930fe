"""Vegetation indices of fields through the season, exact at their borders (exactextract)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import shapely
from exactextract import exact_extract
from numpy.typing import NDArray

import geoseg
from geoseg.errors import InputError
from geoseg.scene.scene import Scene
from yields.sources import INDICES, ConfidenceSource, IndexSource

SEASON = ("mean", "std", "max", "integral", "peak_day")
LEAST_SEEN = 0.5
"""Share of a field that must have values, else the date does not count for it (clouds, the scene's edge)."""
LEAST_DATES = 2
_CELLS = 4_000_000


def open_scenes(files: Sequence[tuple[date | None, str]]) -> dict[date, Scene]:
    """Open the season's scenes.

    Args:
        files: (date, file or URL); a date of None is read from the scene.

    Returns:
        Scenes by ascending date.

    Raises:
        InputError: If a date is unknown or there twice, or a scene is not north-up with a CRS.
    """
    scenes: dict[date, Scene] = {}
    for day, path in files:
        scene = geoseg.open_scene(path)
        if day is None and scene.date is None:
            raise InputError(f"{path} does not say when it was taken; say it as YYYY-MM-DD={path}")
        key = day or date.fromisoformat(str(scene.date))
        if key in scenes:
            raise InputError(f"{path} and {scenes[key].paths[0]} are both of {key}; make one mosaic of them")
        transform = scene.georeference.transform
        if (
            transform is None
            or scene.georeference.crs is None
            or transform.b
            or transform.d
            or transform.e > 0
        ):
            raise InputError(f"{path} is not a north-up raster with a CRS; warp it first (gdalwarp)")
        scenes[key] = scene
    return dict(sorted(scenes.items()))


def indices_of(scenes: Mapping[date, Scene]) -> list[str]:
    """The indices whose bands all scenes have.

    Raises:
        InputError: If there is none.
    """
    there = [{band.common_name for band in scene.bands} for scene in scenes.values()]
    found = [name for name, pair in INDICES.items() if all(set(pair) <= bands for bands in there)]
    if not found:
        pairs = "; ".join(f"{name}: {' and '.join(pair)}" for name, pair in INDICES.items())
        raise InputError(f"the scenes have no index in common, judged by the names of their bands ({pairs})")
    return found


def field_means(
    fields: geopandas.GeoDataFrame, scene: Scene, indices: Sequence[str], confidence: Path | None = None
) -> pd.DataFrame:
    """Mean and standard deviation of every index in every field on one date.

    Args:
        fields: Polygons in any CRS.
        scene: North-up, with the bands of the indices.
        indices: Names in ``INDICES``.
        confidence: A confidence raster of geoseg on the scene's grid: pixels count by it.

    Returns:
        Columns ``INDEX_mean`` and ``INDEX_std``, indexed as the fields; NaN where less than ``LEAST_SEEN`` of
        a field has values.
    """
    shapes = fields[["geometry"]].to_crs(scene.georeference.crs)
    weighted = "weighted_" if confidence else ""
    result = {}
    for name in indices:
        found = exact_extract(
            IndexSource(scene, name),
            shapes,
            [f"{weighted}mean", f"{weighted}stdev", "count"],
            weights=None if confidence is None else ConfidenceSource(geoseg.open_scene(confidence)),
            strategy="raster-sequential",
            max_cells_in_memory=_CELLS,
            output="pandas",
        )
        pixel = abs(scene.georeference.transform.a * scene.georeference.transform.e)
        seen = found["count"].to_numpy() * pixel >= LEAST_SEEN * shapely.area(shapes.geometry.to_numpy())
        result[f"{name}_mean"] = np.where(seen, found[f"{weighted}mean"], np.nan)
        result[f"{name}_std"] = np.where(seen, found[f"{weighted}stdev"], np.nan)
    return pd.DataFrame(result, index=fields.index)


def season(days: Sequence[date], means: NDArray[np.float64], stds: NDArray[np.float64]) -> pd.DataFrame:
    """Sum a season up.

    Dates on which a field has no value are bridged by straight lines, and by the nearest value at the ends.

    Args:
        days: Dates, ascending.
        means: (fields, dates), NaN where a field has no value.
        stds: As ``means``: standard deviation within the field.

    Returns:
        ``mean`` (over time), ``std`` (within the field, mean of the dates), ``max`` (of the dates),
        ``integral`` (index x days, trapezoids), ``peak_day`` (days from the first date to the highest; the
        earliest of equals), ``peak_date``, ``dates`` (with a value). All but the last are null with fewer
        than ``LEAST_DATES`` values.
    """
    since = np.array([(day - days[0]).days for day in days], float)
    there = np.isfinite(means)
    enough = there.sum(1) >= LEAST_DATES
    curves = np.full(means.shape, np.nan)
    for row in np.flatnonzero(enough):
        curves[row] = np.interp(since, since[there[row]], means[row, there[row]])
    peak = np.argmax(np.nan_to_num(curves, nan=-np.inf), axis=1)
    integral = (np.diff(since) * (curves[:, 1:] + curves[:, :-1]) / 2).sum(1)
    with np.errstate(invalid="ignore"):
        spread = np.where(there, np.nan_to_num(stds), 0).sum(1) / np.maximum(there.sum(1), 1)
    peak_dates = [days[0] + timedelta(days=float(since[place])) for place in peak]
    return pd.DataFrame(
        {
            "mean": integral / (since[-1] - since[0]),
            "std": np.where(enough, spread, np.nan),
            "max": np.where(enough, curves[np.arange(len(curves)), peak], np.nan),
            "integral": integral,
            "peak_day": np.where(enough, since[peak], np.nan),
            "peak_date": [day if one else None for day, one in zip(peak_dates, enough, strict=True)],
            "dates": there.sum(1).astype(np.int32),
        }
    )


def season_table(
    fields: geopandas.GeoDataFrame, scenes: Mapping[date, Scene], confidence: Path | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """All index columns of the fields: ``INDEX_YYYYMMDD`` for dates, ``INDEX_mean`` ... for the season.

    Returns:
        The table, indexed as the fields, and the names of the indices.

    Raises:
        InputError: If there are fewer than two scenes, or no index.
    """
    if len(scenes) < LEAST_DATES:
        raise InputError(f"a season needs scenes of at least {LEAST_DATES} dates, and there is {len(scenes)}")
    indices = indices_of(scenes)
    days = list(scenes)
    by_date = [field_means(fields, scene, indices, confidence) for scene in scenes.values()]
    parts = []
    for name in indices:
        means, stds = (
            np.column_stack([one[f"{name}_{what}"] for one in by_date]) for what in ("mean", "std")
        )
        each = {f"{name}_{day:%Y%m%d}": means[:, place] for place, day in enumerate(days)}
        whole = season(days, means, stds).add_prefix(f"{name}_").set_index(fields.index)
        parts += [pd.DataFrame(each, index=fields.index), whole]
    return pd.concat(parts, axis=1), indices
