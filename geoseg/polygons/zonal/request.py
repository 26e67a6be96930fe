"""Read ``--stats`` and ``--stats-from``: which statistics of which bands and indices become columns."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from geoseg.errors import SceneError, SettingsError
from geoseg.grid import Window
from geoseg.maps.class_map_file import ClassMapFile
from geoseg.polygons.table.schema import COLUMNS
from geoseg.polygons.zonal.indices import INDICES, Index
from geoseg.polygons.zonal.statistics import (
    STATISTICS,
    Measure,
    Zonal,
    ZonalColumn,
    band_measure,
    column_names,
    index_measure,
)
from geoseg.raster.georeference import corner_on
from geoseg.scene.match import match_bands, missing_bands, resolve
from geoseg.scene.opening import open_scene
from geoseg.scene.scene import Scene, describe

PathLike = str | os.PathLike[str]
DEFAULT = "mean"


def zonal_of_map(
    stats: Sequence[str] | None,
    stats_from: PathLike | Sequence[PathLike] | None,
    class_map: ClassMapFile,
) -> Zonal | None:
    """Read the statistics for the polygons of a class map; return None if there are none.

    Args:
        stats: The statistics, as in ``"ndvi"``, ``"B8:std"``, ``"3:max"``.
        stats_from: The files that hold the bands.
        class_map: The class map.

    Raises:
        SettingsError: If a statistic cannot be understood, or one argument is given without the other.
        SceneError: If a band is missing, or the files do not lie on the map's grid.
    """
    paths = paths_of(stats_from)
    if stats is None and not paths:
        return None
    if not stats or not paths:
        raise SettingsError(
            "--stats says what to compute and --stats-from of which raster; give both, as in "
            "--stats ndvi,nir:std --stats-from scene.tif"
        )
    scene = open_scene(paths)
    return zonal_of_scene(stats, scene, _corner(scene, class_map))


def zonal_of_run(
    stats: Sequence[str], polygons: PathLike | None, scene: Scene, bands: Sequence[str], window: Window
) -> Zonal:
    """Read which statistics of its scene the polygons of a prediction get.

    Args:
        stats: See ``zonal_of_map``.
        polygons: File for the polygons, or None.
        scene: The scene, its bands in the network's order.
        bands: The network's names of these bands.
        window: The part of the scene to map.

    Raises:
        SettingsError: If there is no file for polygons, or a statistic cannot be understood.
        SceneError: If a band is missing.
    """
    if polygons is None:
        raise SettingsError("--stats adds columns to polygons; give --polygons OUT.gpkg too")
    return zonal_of_scene(stats, named_as(scene, bands), (window.row, window.col))


def zonal_of_scene(stats: Sequence[str], scene: Scene, corner: tuple[int, int]) -> Zonal:
    """Read the statistics to compute from a scene.

    Args:
        stats: See ``zonal_of_map``.
        scene: The scene that holds the bands.
        corner: Row and column of the map's first pixel in the scene.

    Raises:
        SettingsError: If a statistic cannot be understood, or two columns would have the same name.
        SceneError: If a band is missing.
    """
    measures: dict[str, Measure] = {}
    columns: list[ZonalColumn] = []
    taken = {column.name.casefold() for column in COLUMNS}
    for text in stats:
        name, statistic = _parse(text)
        if name not in measures:
            measures[name] = _measure(scene, name)
        column = f"{_plain(name)}_{statistic}"
        if column.casefold() in taken:
            raise SettingsError(f"--stats {text}: there is a column {column} already; leave it out")
        taken.add(column.casefold())
        columns.append(ZonalColumn(column, list(measures).index(name), statistic))
    return Zonal(scene, corner, tuple(measures.values()), tuple(columns))


def paths_of(stats_from: PathLike | Sequence[PathLike] | None) -> list[str]:
    """List the files of ``--stats-from``."""
    if stats_from is None:
        return []
    paths = [stats_from] if isinstance(stats_from, (str, os.PathLike)) else stats_from
    return [os.fspath(path) for path in paths]


def zonal_to_json(zonal: Zonal | None) -> dict[str, Any]:
    """Return the report's entry."""
    return {"stats": stats_asked(zonal), "stats_from": None if zonal is None else list(zonal.scene.paths)}


def stats_asked(zonal: Zonal | None) -> list[str] | None:
    """Return the names of the requested columns; None if there are none."""
    return None if zonal is None else list(column_names(zonal.columns))


def named_as(scene: Scene, names: Sequence[str]) -> Scene:
    """Give the bands of a scene that have no common name the names of the network's bands.

    Args:
        scene: The scene, its bands in the network's order.
        names: The network's bands by common name.
    """
    known = {
        band.number: name for band, name in zip(scene.bands, names, strict=True) if band.common_name is None
    }
    layers = tuple(
        replace(layer, band=replace(layer.band, common_name=known[layer.band.number]))
        if layer.band.number in known
        else layer
        for layer in scene.all_layers
    )
    return replace(scene, all_layers=layers, layers=tuple(layer for layer in layers if not layer.is_alpha))


def _parse(text: str) -> tuple[str, str]:
    name, colon, statistic = str(text).strip().rpartition(":")
    if not colon:
        name, statistic = statistic, DEFAULT
    name, statistic = name.strip(), statistic.strip().lower()
    if not name or statistic not in STATISTICS:
        raise SettingsError(
            f'--stats {text}: "{statistic}" is no statistic; write BAND:STATISTIC with one of '
            f"{', '.join(STATISTICS)}, as in ndvi:mean or B8:std"
        )
    return (name.lower() if name.lower() in INDICES else name), statistic


def _plain(name: str) -> str:
    """Convert a name to one that a column can have."""
    plain = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_")
    return f"band{plain}" if plain[:1].isdecimal() or not plain else plain


def _measure(scene: Scene, name: str) -> Measure:
    """Return the band of this name or number, else the index of this name."""
    try:
        (number,) = resolve(scene, [name]).numbers
    except SceneError as error:
        if name in INDICES:
            return _index(scene, name, INDICES[name])
        if "could be" in str(error):
            raise
        raise SceneError(
            f"{scene.paths[0]}: --stats {name} is neither a band nor an index; the bands are "
            f"{describe([layer.band for layer in scene.all_layers])}, the indices {', '.join(INDICES)}"
        ) from None
    return band_measure(scene, name, number)


def _index(scene: Scene, name: str, index: Index) -> Measure:
    missing = missing_bands(scene, index.bands)
    has = describe([layer.band for layer in scene.all_layers])
    if missing:
        raise SceneError(
            f"{scene.paths[0]}: {name} needs {', '.join(index.bands)}, and there is no "
            f"{' and no '.join(missing)} among its bands {has}; leave {name} out, or describe the bands in "
            "the file by these names"
        )
    numbers = match_bands(scene, index.bands).numbers
    bands = [layer.band for layer in scene.all_layers if layer.band.number in numbers]
    stored = [band for band in bands if np.dtype(band.dtype).kind in "iu" and band.scale == 1.0]
    if index.reflectance and stored:
        raise SceneError(
            f"{scene.paths[0]}: {name} needs reflectance (0-1), and band {stored[0]} holds whole numbers "
            "without a scale; give it with --scale 0.0001 (geoseg predict), or write it into the file "
            "(gdal_edit.py -scale 0.0001)"
        )
    return index_measure(name, numbers, index)


def _corner(scene: Scene, class_map: ClassMapFile) -> tuple[int, int]:
    """Find row and column of the map's first pixel in the scene."""
    mine, its = scene.georeference.transform, class_map.transform
    crs, map_crs = scene.georeference.crs, class_map.georeference.crs
    corner = None
    if mine is None and its is None:
        corner = class_map.origin
    elif mine is not None and its is not None and (not crs or not map_crs or crs == map_crs):
        corner = corner_on(mine, class_map.shape, its)
    if corner is None:
        raise SceneError(
            f"{scene.paths[0]} does not lie on the grid of {class_map.path}, and --stats counts whole "
            f"pixels; bring it there first: rio warp {scene.paths[0]} warped.tif --like {class_map.path}"
        )
    if Window(*corner, *class_map.shape).intersection(Window.from_shape(scene.shape)) is None:
        raise SceneError(
            f"{scene.paths[0]} and {class_map.path} have no pixel in common; give the scene of this map"
        )
    return corner
