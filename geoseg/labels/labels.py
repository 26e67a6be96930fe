"""Open labels (ground truth) on a scene's grid, from a raster or from polygons."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import IGNORE
from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.labels.polygons import open_polygons
from geoseg.labels.raster import RasterLabels, open_raster
from geoseg.labels.values import NamedClass, ValueTable, as_whole_number, make_table
from geoseg.omissions import Omission
from geoseg.raster.georeference import Georeference
from geoseg.raster.legend import read_legend
from geoseg.raster.lost_values import find_lost_values
from geoseg.raster.source import GDAL_ERRORS, Source
from geoseg.scene.area import AreaOfInterest
from geoseg.scene.placing import GridOf
from geoseg.scene.probe import why_not
from geoseg.scene.scene import Scene
from geoseg.scene.vector import require_file, why_not_vector

__all__ = ["Labels", "NamedClass", "open_labels"]


class _Layer(Protocol):
    """A source of labels on a grid."""

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Class ids in a window."""

    def close(self) -> None:
        """Close this process's handles."""


@dataclass(frozen=True)
class Labels:
    """Labels on a scene's grid, read window by window.

    Holds no open file, so it can be pickled and read from any thread or process.

    Attributes:
        path: The label file.
        shape: (rows, columns) of the grid.
        layer: The source of the labels: ``RasterLabels`` or ``PolygonLabels``.
        omissions: Rows that label nothing, and values that are no label although they may be a class.
    """

    path: str
    shape: tuple[int, int]
    layer: _Layer
    omissions: tuple[Omission, ...] = ()

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read the labels in a window.

        Args:
            window: A window inside the grid.

        Returns:
            uint8 (rows, columns): class ids, ``IGNORE`` (255) where there is no label.

        Raises:
            SceneError: If the window reaches beyond the grid, or holds a value that is not a class.
            RunError: If the file cannot be read.
        """
        if window.intersection(Window.from_shape(self.shape)) != window:
            raise SceneError(f"{window} is not inside the grid of {self.shape[0]} x {self.shape[1]} pixels")
        return self.layer.read(window)

    def within(self, area: AreaOfInterest) -> Labels:
        """Return the same labels, with none outside an area of interest (on the same grid)."""
        omissions = (*self.omissions, *area.omissions)
        return replace(self, layer=_Within(self.layer, area), omissions=omissions)

    def close(self) -> None:
        """Close this process's handles; reading opens them again."""
        self.layer.close()


@dataclass(frozen=True)
class _Within:
    """Labels inside an area."""

    layer: _Layer
    area: AreaOfInterest

    def read(self, window: Window) -> NDArray[np.uint8]:
        inside = self.area.mask(window)
        if not inside.any():
            return np.full(window.shape, IGNORE, np.uint8)
        return np.where(inside, self.layer.read(window), np.uint8(IGNORE))

    def close(self) -> None:
        self.layer.close()


def open_labels(
    path: str | os.PathLike[str],
    grid_of: Scene | str | os.PathLike[str],
    classes: Iterable[NamedClass] | None = None,
    *,
    column: str | None = None,
    remap: Mapping[int | str, int] | None = None,
    ignore: Sequence[int | str] = (),
) -> Labels:
    """Open labels on the grid of a scene or raster.

    No label are 255, the raster's nodata and masked pixels, null attributes, everything in ``ignore``, and 0
    unless it is one of the classes. Every other value must be a class; a raster is refused when a window is
    read that holds one that is not. With ``remap``, only the values in that table are labels.

    Args:
        path: A class raster (one band; on another grid or in another CRS it is resampled by nearest
            neighbour), or polygons in any vector format (a pixel has the class of the polygon that holds its
            centre, and none where polygons of several classes do).
        grid_of: The scene, or a raster file, on whose grid labels are read.
        classes: The known classes (anything with ``id`` and ``name``); None: every value from 0 to 254.
        column: Attribute of polygons that holds the class's id or name; by default the first that exists of
            ``class_id``, ``class_name``, ``class``, ``label`` ..., or the only one.
        remap: Value or name in the file -> class id (255: no label). Numbers may be written as text.
        ignore: Values or names that mean no label.

    Returns:
        The labels.

    Raises:
        SceneError: If the file cannot be opened, or does not lie on the grid.
        SettingsError: If the column is missing or ambiguous, or a remapping leads to an unknown class.
    """
    name, grid = os.fspath(path), _grid(grid_of)
    listed = None if classes is None else tuple(classes)
    require_file(name, "labels")
    not_vector = why_not_vector(name)
    if not_vector is None:

        def table() -> ValueTable:
            return make_table(name, listed, remap=remap, ignore=ignore)

        polygons, omissions = open_polygons(name, grid, table, column)
        return Labels(name, grid.shape, polygons, omissions)
    try:
        with Source(name).open() as dataset:
            source = open_raster(name, dataset, grid)
            nodata, (legend, _) = dataset.nodata, read_legend(dataset)
    except GDAL_ERRORS as error:
        raise SceneError(f"labels {why_not(name, error)}; as a vector file: {not_vector}") from error
    raster = RasterLabels(source, make_table(name, listed, remap=remap, ignore=ignore, nodata=nodata))
    names = {item.id: item.name for item in legend if item.id}  # 0 is "background" in most legends
    names |= {item.id: item.name for item in listed or ()}
    if remap is not None:
        numbers = {as_whole_number(key): key for key, target in remap.items() if target != IGNORE}
        names = {number: f"remapped to {remap[key]}" for number, key in numbers.items() if number is not None}
    ignored = {as_whole_number(key) for key in ignore}
    omissions = find_lost_values(
        name,
        raster.read_stored,
        grid.shape,
        nodata,
        things="pixels of the labels",
        fix="if it is a class, give it an id of 0 to 254 (--remap 255=ID)",
        names={number: text for number, text in names.items() if number not in ignored},
        is_255_meant=remap is not None or IGNORE in ignored,
    )
    return Labels(name, grid.shape, raster, omissions)


def _grid(grid_of: Scene | str | os.PathLike[str]) -> GridOf:
    if isinstance(grid_of, Scene):
        return GridOf.of(grid_of)
    path = os.fspath(grid_of)
    try:
        with Source(path).open() as dataset:
            return GridOf(path, dataset.shape, Georeference.of(dataset))
    except GDAL_ERRORS as error:
        raise SceneError(why_not(path, error)) from error
