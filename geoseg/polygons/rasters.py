"""The finished rasters of a map, read together one block at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from os import PathLike, fspath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.classes import NODATA, LandClass
from geoseg.errors import SceneError, SettingsError
from geoseg.grid import Window
from geoseg.polygons.trace.block import BlockValues
from geoseg.polygons.zonal.zonal import Zonal
from geoseg.raster.georeference import require_same_grid
from geoseg.raster.legend import read_legend

if TYPE_CHECKING:
    from affine import Affine

BLOCK_SIZE = 1024
MAX_BLOCK_SIZE = 8192
"""Larger blocks are cut down to this: they would only cost memory."""
_INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
CLASS_DTYPES = (*_INTEGERS, "float32", "float64")
"""Floats too: raster calculators write them."""
ORIGIN_TAG = "GEOSEG_ORIGIN"
"""Tag of maps cut from a scene: row and column of the first pixel on the scene's grid, as "120,340"."""
DATE_TAG = "ACQUISITION_DATE"


@dataclass(frozen=True, slots=True)
class MapInfo:
    """What the class map's file says.

    Attributes:
        shape: Rows and columns.
        crs: Rasterio CRS, or None.
        transform: Pixel to CRS, or None.
        legend: Its named classes by ascending id.
        colors: Colours by class id, of unnamed classes too.
        tags: Its metadata.
        origin: Row and column of its first pixel on the scene's grid.
    """

    shape: tuple[int, int]
    crs: Any
    transform: Affine | None
    legend: tuple[LandClass, ...]
    colors: dict[int, str]
    tags: dict[str, str]
    origin: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Files:
    """Open files: the class map, and what was given with it."""

    classes: Any
    confidence: Any | None
    probabilities: Any | None


class MapRasters:
    """A class map and what belongs to it, opened; a context manager.

    Args:
        classes: Class map: one band of whole numbers from 0 to 254, and nodata; they may be stored as floats.
        confidence: uint8, 0-100 percent, 255 unknown, on the same grid.
        probabilities: uint8, one band a class, 0-250 for 0-1, 255 unknown, on the same grid.

    Raises:
        SceneError: If a file cannot be opened or is not such a raster, or the grids differ.
    """

    def __init__(
        self,
        classes: str | PathLike[str],
        confidence: str | PathLike[str] | None = None,
        probabilities: str | PathLike[str] | None = None,
    ) -> None:
        self._paths = (classes, confidence, probabilities)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._opened = ExitStack()
        with ExitStack() as failed:
            failed.push(self._opened)
            files = self._of_thread()
            for other in (files.confidence, files.probabilities):
                if other is not None:
                    require_same_grid(files.classes, other)
            self.info = _describe(files.classes)
            self._nodata = files.classes.nodata
            self._probabilities = files.probabilities
            masked = MaskFlags.per_dataset in files.classes.mask_flag_enums[0]
            self._masked = masked and MaskFlags.nodata not in files.classes.mask_flag_enums[0]
            failed.pop_all()

    def _of_thread(self) -> _Files:
        """The files as this thread has them open: GDAL's handles are not to be shared."""
        files: _Files | None = getattr(self._local, "files", None)
        if files is None:
            classes, confidence, probabilities = self._paths
            with self._lock:
                files = self._local.files = _Files(
                    _open(self._opened, classes, "class map", CLASS_DTYPES, one_band=True),
                    None
                    if confidence is None
                    else _open(self._opened, confidence, "confidence raster", ("uint8",), one_band=True),
                    None
                    if probabilities is None
                    else _open(self._opened, probabilities, "probability raster", ("uint8",)),
                )
        return files

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    @property
    def n_probabilities(self) -> int:
        """Bands of the probability raster, 0 without one."""
        return 0 if self._probabilities is None else int(self._probabilities.count)

    def band_classes(self, legend: tuple[LandClass, ...]) -> NDArray[np.uint8]:
        """The class of each probability band, ascending; empty without probabilities.

        Args:
            legend: The map's classes. Bands are matched by name, else by order if there are as many.

        Raises:
            SceneError: If neither works.
        """
        if self._probabilities is None:
            return np.zeros(0, dtype=np.uint8)
        names = [item.name for item in legend]
        described = list(self._probabilities.descriptions)
        if set(described) <= set(names) and len(set(described)) == len(described):
            found = [legend[names.index(name)].id for name in described]
        elif len(described) == len(legend):
            found = [item.id for item in legend]
        else:
            raise SceneError(
                f"{self._probabilities.name} has {len(described)} bands, the class map {len(legend)} named "
                "classes; give the probability raster of the same run, its bands described by class name"
            )
        if found != sorted(found):
            raise SceneError(f"{self._probabilities.name}: its bands are not in the order of the class ids")
        return np.array(found, dtype=np.uint8)

    def places(self, size: int) -> Iterator[Window]:
        """The blocks from left to right and from top to bottom."""
        rows, columns = self.info.shape
        for row in range(0, rows, size):
            for column in range(0, columns, size):
                yield Window(row, column, min(size, rows - row), min(size, columns - column))

    def block(self, place: Window, zonal: Zonal | None = None) -> BlockValues:
        """Read everything in a block, from any thread.

        Args:
            place: The block.
            zonal: Read its values too.
        """
        block = self._read(place)
        if zonal is None:
            return block
        values = zonal.read(place.row, place.col, place.height, place.width)
        return replace(block, zonal=values)

    def blocks(self, size: int) -> Iterator[BlockValues]:
        """Read everything block by block, from left to right and from top to bottom."""
        return map(self._read, self.places(size))

    def rows(self, row: int, height: int) -> BlockValues:
        """Read everything in whole rows."""
        return self._read(Window(row, 0, height, self.info.shape[1]))

    def n_blocks(self, size: int) -> int:
        """How many blocks there are."""
        rows, columns = self.info.shape
        return -(-rows // size) * -(-columns // size)

    def _read(self, place: Window) -> BlockValues:
        window = RasterioWindow(place.col, place.row, place.width, place.height)
        opened = self._of_thread()
        try:
            classes = opened.classes.read(1, window=window)
            mask = opened.classes.read_masks(1, window=window) if self._masked else None
            confidence = None if opened.confidence is None else opened.confidence.read(1, window=window)
            probabilities = None if opened.probabilities is None else opened.probabilities.read(window=window)
        except RasterioError as error:
            raise SceneError(
                f"{opened.classes.name} or a raster given with it cannot be read: {error}"
            ) from error
        return BlockValues(place.row, place.col, self._as_bytes(classes, mask), confidence, probabilities)

    def _as_bytes(
        self, classes: NDArray[np.number[Any]], mask: NDArray[np.uint8] | None
    ) -> NDArray[np.uint8]:
        """Class ids as uint8 with 255 for nodata; everything else is refused."""
        if classes.dtype == np.uint8 and mask is None and self._nodata in (None, NODATA):
            return classes.astype(np.uint8, copy=False)
        nodata = NODATA if self._nodata is None else self._nodata
        empty = classes == nodata
        if mask is not None:
            empty |= mask == 0
        wrong = (classes < 0) | (classes >= NODATA)
        if np.issubdtype(classes.dtype, np.floating):
            empty |= np.isnan(classes)
            wrong |= classes != np.floor(classes)
        wrong &= ~empty
        if wrong.any():
            raise SceneError(
                f"{fspath(self._paths[0])} holds the value {classes[wrong][0]:.10g}, which is no class: "
                "ids are whole numbers from 0 to 254; reclassify it or set the file's nodata value"
            )
        found = np.full(classes.shape, NODATA, np.uint8)
        np.copyto(found, classes, where=~empty, casting="unsafe")
        return found


def resolve_block_size(block_size: int | None) -> int:
    """The block size to use.

    Raises:
        SettingsError: If it is below 1.
    """
    if block_size is not None and block_size < 1:
        raise SettingsError(f"the block size must be at least 1, not {block_size}")
    return min(block_size or BLOCK_SIZE, MAX_BLOCK_SIZE)


def _open(
    opened: ExitStack,
    path: str | PathLike[str],
    what: str,
    dtypes: tuple[str, ...],
    *,
    one_band: bool = False,
) -> Any:
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(fspath(path))
            opened.callback(dataset.close)  # by any thread, which leaving its context could not be
    except RasterioError as error:
        raise SceneError(f"the {what} {fspath(path)} cannot be opened: {error}") from error
    if one_band and dataset.count != 1:
        raise SceneError(f"the {what} {dataset.name} has {dataset.count} bands; it must have one")
    if dataset.count == 0 or any(dtype not in dtypes for dtype in dataset.dtypes):
        held = ", ".join(sorted(set(dataset.dtypes))) or "no bands"
        wanted = dtypes[0] if len(dtypes) == 1 else "whole numbers"
        raise SceneError(f"the {what} {dataset.name} holds {held}; it must be {wanted}")
    return dataset


def _describe(dataset: Any) -> MapInfo:
    placed = not (dataset.transform.is_identity and dataset.crs is None)
    if dataset.transform.is_identity and (dataset.gcps[0] or dataset.rpcs):
        raise SceneError(
            f"{dataset.name} is placed by control points, so its polygons have no coordinates; "
            "make the map with --warp, or warp it with gdalwarp"
        )
    if placed and dataset.transform.determinant == 0:
        raise SceneError(f"{dataset.name} has a transform that flattens every pixel; set a right one")
    tags = dataset.tags()
    legend, colors = read_legend(dataset)
    return MapInfo(
        shape=dataset.shape,
        crs=dataset.crs or None,
        transform=dataset.transform if placed else None,
        legend=legend,
        colors=colors,
        tags=tags,
        origin=_origin(tags.get(ORIGIN_TAG), dataset.name),
    )


def _origin(text: str | None, name: str) -> tuple[int, int]:
    if text is None:
        return (0, 0)
    try:
        row, column = (int(part) for part in text.split(","))
    except ValueError:
        raise SceneError(f'{name} has the tag {ORIGIN_TAG}="{text}"; it must be "row,column"') from None
    return row, column
