"""A finished class map and its confidence, read window by window."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window as RasterioWindow

from geoseg.classes import NODATA, LandClass
from geoseg.errors import RunError, SceneError
from geoseg.grid import Window
from geoseg.labels.labels import Labels, open_labels
from geoseg.polygons.rasters import ORIGIN_TAG
from geoseg.raster.georeference import Georeference
from geoseg.raster.legend import read_legend
from geoseg.raster.pixel_sizes import PixelSizes, measure_pixel_sizes
from geoseg.raster.source import GDAL_ERRORS, Source, borrow
from geoseg.scene.file import reason

PathLike = str | os.PathLike[str]


class Readable(Protocol):
    """A raster of class ids."""

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Class ids in a window."""


@dataclass(frozen=True)
class ClassMap:
    """A class map; holds no open file.

    Attributes:
        path: The file.
        shape: (rows, columns).
        georeference: Where it lies.
        legend: Its named classes by ascending id; empty if it names none.
        colors: Colours by class id.
        tags: Its metadata.
        origin: Row and column of its first pixel on the scene's grid.
    """

    path: str
    shape: tuple[int, int]
    georeference: Georeference
    legend: tuple[LandClass, ...]
    colors: Mapping[int, str]
    tags: Mapping[str, str]
    origin: tuple[int, int]
    _values: Labels = field(repr=False)
    _confidence: Source | None = field(default=None, repr=False)

    @property
    def has_confidence(self) -> bool:
        """Whether a confidence raster was given."""
        return self._confidence is not None

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Class ids in a window, uint8 (rows, columns), 255 for nodata.

        Raises:
            SceneError: If it holds a value that is no class id.
            RunError: If it cannot be read.
        """
        return self._values.read(window)

    def read_confidence(self, window: Window) -> NDArray[np.uint8]:
        """Confidence in a window, uint8 percent (rows, columns), 255 where it is not known.

        Raises:
            SceneError: If it holds a value that is no percentage.
            RunError: If it cannot be read.
        """
        assert self._confidence is not None  # only read where has_confidence
        try:
            with borrow(self._confidence) as dataset:
                values: NDArray[np.uint8] = dataset.read(
                    1, window=RasterioWindow(window.col, window.row, window.width, window.height)
                )
        except GDAL_ERRORS as error:
            raise RunError(f"{self._confidence.path} cannot be read: {reason(error)}") from error
        wrong = (values > 100) & (values != NODATA)
        if wrong.any():
            raise SceneError(
                f"{self._confidence.path} holds {values[wrong][0]}; a confidence raster holds 0 to 100 "
                "percent, 255 where it is not known"
            )
        return values

    def pixel_sizes(self) -> PixelSizes | None:
        """The sizes of its pixels on the ellipsoid; None without a CRS."""
        place = self.georeference
        return measure_pixel_sizes(place.crs, place.transform, self.shape, self.origin)


def open_class_map(path: PathLike, confidence: PathLike | None = None) -> ClassMap:
    """Open a class map.

    Args:
        path: One band of whole numbers: 0-254, and nodata.
        confidence: uint8, 0-100 percent, 255 unknown, on the same grid.

    Raises:
        SceneError: If a file cannot be opened, or the grids differ.
    """
    name = os.fspath(path)
    try:
        with Source(name).open() as dataset:
            if dataset.count != 1:
                raise SceneError(f"the class map {name} has {dataset.count} bands; it must have one")
            legend, colors = read_legend(dataset)
            shape, tags = dataset.shape, dataset.tags()
            georeference = Georeference.of(dataset)
    except GDAL_ERRORS as error:
        raise SceneError(f"the class map {name} cannot be opened: {reason(error)}") from error
    return ClassMap(
        path=name,
        shape=shape,
        georeference=georeference,
        legend=legend,
        colors=colors,
        tags=tags,
        origin=_origin(tags.get(ORIGIN_TAG)),
        _values=open_labels(name, name),
        _confidence=None if confidence is None else _open_confidence(os.fspath(confidence), name, shape),
    )


def _open_confidence(path: str, class_map: str, shape: tuple[int, int]) -> Source:
    try:
        with Source(path).open() as dataset:
            found: Any = (dataset.count, dataset.dtypes[0] if dataset.count else "nothing")
            same = dataset.shape == shape
            has_palette = dataset.colorinterp[0].name == "palette"
    except GDAL_ERRORS as error:
        raise SceneError(f"the confidence raster {path} cannot be opened: {reason(error)}") from error
    if found != (1, "uint8"):
        raise SceneError(f"the confidence raster {path} must be one band of uint8, 0 to 100 percent")
    if has_palette:
        raise SceneError(f"{path} has a palette, so it is a class map and no confidence raster")
    if not same:
        raise SceneError(f"{path} does not lie on the grid of {class_map}; give the raster of the same run")
    return Source(path)


def _origin(text: str | None) -> tuple[int, int]:
    try:
        row, column = (int(part) for part in (text or "0,0").split(","))
    except ValueError:
        return (0, 0)
    return row, column
