"""An open class map, from geoseg or another program, with its confidence and probability rasters."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.transform import Affine
from rasterio.windows import Window as RasterioWindow

from geoseg.classes import NODATA, LandClass
from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.omissions import Omission
from geoseg.raster.georeference import Georeference, require_same_grid
from geoseg.raster.legend import read_legend
from geoseg.raster.lost_values import find_lost_values, refuse_lossy
from geoseg.raster.pixel_sizes import PixelSizes, measure_pixel_sizes
from geoseg.raster.source import GDAL_ERRORS, Source, borrow, close
from geoseg.raster.texts import read_descriptions
from geoseg.scene.file import reason
from geoseg.scene.probe import why_not

PathLike = str | os.PathLike[str]

CLASS_DTYPES = (
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float32", "float64"),  # raster calculators write these
)
ORIGIN_TAG = "GEOSEG_ORIGIN"
"""Tag of maps cut from a scene: row and column of the first pixel on the scene's grid, as "120,340"."""
DATE_TAG = "ACQUISITION_DATE"
_NOTHING = re.compile(
    r"\W*(no\b|no[ _-]?data|not\b|non\b|none|un(classified|known|mapped|label|def)|background|mask|fill|"
    r"empty|outside|ignore|void|null|nan\b|border|invalid|missing)|\W*$",
    re.IGNORECASE,
)
"""Names that programs give to what is no class."""


@dataclass(frozen=True)
class ClassMapFile:
    """An open class map, with its confidence and probability rasters if they were given.

    Every thread that reads it gets its own GDAL handles, opened on first use, because handles must not be
    shared. Leave the context, or call ``close``, to close all handles.

    Attributes:
        path: The file.
        shape: Rows and columns.
        georeference: Its georeferencing.
        transform: Pixel to CRS, or None.
        legend: Its named classes by ascending id; empty if it names none.
        colors: Colours by class id, of unnamed classes too.
        tags: Its metadata.
        origin: Row and column of its first pixel on the scene's grid.
        nodata: The file's nodata value; None where it declares none, and 255 is nodata.
        masked: Whether a mask hides pixels.
        confidence: The confidence raster, or None.
        probabilities: The probability raster, or None.
        probability_names: Descriptions of its bands.
        omissions: Pixels of 255, which is no class, in a file that does not declare it as nodata; and a named
            class that the file does.
    """

    path: str
    shape: tuple[int, int]
    georeference: Georeference
    transform: Affine | None
    legend: tuple[LandClass, ...]
    colors: Mapping[int, str]
    tags: Mapping[str, str]
    origin: tuple[int, int]
    nodata: float | None
    masked: bool
    confidence: Source | None = None
    probabilities: Source | None = None
    probability_names: tuple[str | None, ...] = ()
    omissions: tuple[Omission, ...] = ()

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read class ids, uint8 (rows, columns); 255 is nodata.

        Raises:
            SceneError: If the file cannot be read, or holds a value that is no class id.
        """
        return self._as_ids(*self._read_stored(window))

    def read_confidence(self, window: Window) -> NDArray[np.uint8]:
        """Read confidence in percent, uint8 (rows, columns); 255 is unknown.

        Raises:
            SceneError: If the file cannot be read, or holds a value that is no percentage.
        """
        assert self.confidence is not None  # callers ask only for what was given
        values = _read(self.confidence, window, band=1)
        wrong = (values > 100) & (values != NODATA)
        if wrong.any():
            raise SceneError(
                f"{self.confidence.path} holds {values[wrong][0]}; a confidence raster holds 0 to 100 "
                "percent, 255 where it is not known"
            )
        return values

    def read_probabilities(self, window: Window) -> NDArray[np.uint8]:
        """Read probabilities, uint8 (bands, rows, columns), 0-250 for 0-1; 255 is unknown.

        Raises:
            SceneError: If the file cannot be read.
        """
        assert self.probabilities is not None  # callers ask only for what was given
        return _read(self.probabilities, window)

    def band_classes(self, legend: Sequence[LandClass] | None = None) -> tuple[int, ...]:
        """Return the class of each probability band, ascending; empty without probabilities.

        Bands are matched to classes by name, else by order if there are as many bands as classes.

        Args:
            legend: The classes; default the map's own.

        Raises:
            SceneError: If the bands cannot be matched.
        """
        if self.probabilities is None:
            return ()
        legend = self.legend if legend is None else legend
        names, bands = [item.name for item in legend], self.probability_names
        if set(bands) <= set(names) and len(set(bands)) == len(bands):
            found = [item.id for name in bands for item in legend if item.name == name]
        elif len(bands) == len(legend):
            found = [item.id for item in legend]
        else:
            raise SceneError(
                f"{self.probabilities.path} has {len(bands)} bands, the class map {len(legend)} named "
                "classes; give the probability raster of the same run, its bands described by class name"
            )
        if found != sorted(found):
            raise SceneError(f"{self.probabilities.path}: its bands are not in the order of the class ids")
        return tuple(found)

    def pixel_sizes(self) -> PixelSizes | None:
        """Measure its pixels on the ellipsoid; None without a CRS."""
        return measure_pixel_sizes(self.georeference.map_crs, self.transform, self.shape, self.origin)

    def close(self) -> None:
        """Close the files in all threads; reading opens them again."""
        close({source for source in (Source(self.path), self.confidence, self.probabilities) if source})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_stored(self, window: Window) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
        """Read the values as they are stored, and the mask if there is one."""
        source = Source(self.path)
        values = _read(source, window, band=1)
        return values, _read(source, window, band=1, mask=True) if self.masked else None

    def _find_omissions(self) -> tuple[Omission, ...]:
        def read(window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
            values, mask = self._read_stored(window)
            return values, np.zeros(values.shape, bool) if mask is None else mask == 0

        return find_lost_values(
            self.path,
            read,
            self.shape,
            self.nodata,
            things="pixels of the map",
            fix="if it is a class, give it an id of 0 to 254 (gdal_calc.py)",
            names={item.id: item.name for item in self.legend if not _NOTHING.match(item.name)},
            is_255_meant=self.nodata is not None,  # other values are then refused
        )

    def _as_ids(self, values: NDArray[Any], mask: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """Convert values to class ids, uint8 with 255 for nodata; refuse any other value."""
        if values.dtype == np.uint8 and mask is None and self.nodata in (None, NODATA):
            return values
        empty = values == (NODATA if self.nodata is None else self.nodata)
        if mask is not None:
            empty |= mask == 0
        wrong = (values < 0) | (values >= NODATA)
        if np.issubdtype(values.dtype, np.floating):
            empty |= np.isnan(values)
            wrong |= values != np.floor(values)
        wrong &= ~empty
        if wrong.any():
            raise SceneError(
                f"{self.path} holds the value {values[wrong][0]:.10g}, which is no class: ids are whole "
                "numbers from 0 to 254; reclassify it or set the file's nodata value"
            )
        found = np.full(values.shape, NODATA, np.uint8)
        np.copyto(found, values, where=~empty, casting="unsafe")
        return found


def open_class_map(
    path: PathLike, confidence: PathLike | None = None, probabilities: PathLike | None = None
) -> ClassMapFile:
    """Open a class map and its rasters; use the result as a context manager.

    Args:
        path: One band of whole numbers, 0-254, and nodata; they may be stored as floats.
        confidence: uint8, 0-100 percent, 255 unknown, on the same grid.
        probabilities: uint8, one band per class, 0-250 for 0-1, 255 unknown, on the same grid.

    Raises:
        SceneError: If a file cannot be opened, is no such raster, or lies on another grid.
    """
    classes = _open(path, "class map", CLASS_DTYPES, one_band=True)
    beside: dict[str, Source] = {}
    names: tuple[str | None, ...] = ()
    if confidence is not None:
        beside["confidence"] = _open(confidence, "confidence raster", ("uint8",), one_band=True)
    if probabilities is not None:
        beside["probabilities"] = _open(probabilities, "probability raster", ("uint8",))
    with borrow(classes) as dataset:
        refuse_lossy(classes.path, dataset)
        for kind, source in beside.items():
            with borrow(source) as other:
                require_same_grid(dataset, other)
                if kind == "confidence" and other.colorinterp[0].name == "palette":
                    raise SceneError(
                        f"{source.path} has a palette, so it is a class map and no confidence raster"
                    )
                if kind == "probabilities":
                    names = read_descriptions(other)
        georeference, tags, flags = Georeference.of(dataset), dataset.tags(), dataset.mask_flag_enums[0]
        legend, colors = read_legend(dataset)
        found = ClassMapFile(
            path=classes.path,
            shape=dataset.shape,
            georeference=georeference,
            transform=georeference.transform,
            legend=legend,
            colors=colors,
            tags=tags,
            origin=_origin(tags.get(ORIGIN_TAG), classes.path),
            nodata=dataset.nodata,
            masked=MaskFlags.per_dataset in flags and MaskFlags.nodata not in flags,
            probability_names=names,
            confidence=beside.get("confidence"),
            probabilities=beside.get("probabilities"),
        )
    return replace(found, omissions=found._find_omissions())


def _open(path: PathLike, what: str, dtypes: Sequence[str], *, one_band: bool = False) -> Source:
    """Open a raster for this thread and check what it holds."""
    source = Source(os.fspath(path))
    close({source})  # a handle from an earlier use may show a file that was replaced since
    try:
        with borrow(source) as dataset:
            count, held = dataset.count, dataset.dtypes
    except GDAL_ERRORS as error:
        raise SceneError(f"the {what} {why_not(source.path, error)}") from error
    if one_band and count != 1:
        raise SceneError(f"the {what} {source.path} has {count} bands; it must have one")
    if count == 0 or any(dtype not in dtypes for dtype in held):
        wanted = dtypes[0] if len(dtypes) == 1 else "whole numbers"
        found = ", ".join(sorted(set(held))) or "no bands"
        raise SceneError(f"the {what} {source.path} holds {found}; it must be {wanted}")
    return source


def _read(source: Source, window: Window, band: int | None = None, *, mask: bool = False) -> NDArray[Any]:
    part = RasterioWindow(window.col, window.row, window.width, window.height)
    try:
        with borrow(source) as dataset:
            read = dataset.read_masks if mask else dataset.read
            values: NDArray[Any] = read(band, window=part)
    except GDAL_ERRORS as error:
        raise SceneError(f"{source.path} cannot be read: {reason(error)}") from error
    return values


def _origin(text: str | None, path: str) -> tuple[int, int]:
    if text is None:
        return (0, 0)
    try:
        row, column = (int(part) for part in text.split(","))
    except ValueError:
        raise SceneError(f'{path} has the tag {ORIGIN_TAG}="{text}"; it must be "row,column"') from None
    return row, column
