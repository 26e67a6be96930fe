"""The finished rasters of a map, read together one block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike, fspath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import SceneError, SettingsError
from geoseg.models.card import LandClass
from geoseg.polygons.components import NODATA
from geoseg.polygons.legend import read_legend
from geoseg.polygons.trace import BlockValues

if TYPE_CHECKING:
    from affine import Affine

BLOCK_SIZE = 1024
MAX_BLOCK_SIZE = 8192
"""Larger blocks are cut down to this: they would only cost memory."""
CLASS_DTYPES = ("uint8", "uint16", "int16")
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


class MapRasters:
    """A class map and what belongs to it, opened; a context manager.

    Args:
        classes: Class map: one band of uint8, uint16 or int16 with values 0-254 and nodata.
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
        with ExitStack() as opened:
            self._classes = _open(opened, classes, "class map", CLASS_DTYPES, one_band=True)
            self._confidence = self._probabilities = None
            if confidence is not None:
                self._confidence = _open(opened, confidence, "confidence raster", ("uint8",), one_band=True)
                _require_same_grid(self._classes, self._confidence)
            if probabilities is not None:
                self._probabilities = _open(opened, probabilities, "probability raster", ("uint8",))
                _require_same_grid(self._classes, self._probabilities)
            self.info = _describe(self._classes)
            self._nodata = self._classes.nodata
            masked = MaskFlags.per_dataset in self._classes.mask_flag_enums[0]
            self._masked = masked and MaskFlags.nodata not in self._classes.mask_flag_enums[0]
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

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

    def blocks(self, size: int) -> Iterator[BlockValues]:
        """Read everything block by block, from left to right and from top to bottom."""
        rows, columns = self.info.shape
        for row in range(0, rows, size):
            for column in range(0, columns, size):
                yield self._read(row, column, min(size, rows - row), min(size, columns - column))

    def rows(self, row: int, height: int) -> BlockValues:
        """Read everything in whole rows."""
        return self._read(row, 0, height, self.info.shape[1])

    def n_blocks(self, size: int) -> int:
        """How many blocks there are."""
        rows, columns = self.info.shape
        return -(-rows // size) * -(-columns // size)

    def _read(self, row: int, column: int, height: int, width: int) -> BlockValues:
        window = RasterioWindow(column, row, width, height)
        try:
            classes = self._classes.read(1, window=window)
            mask = self._classes.read_masks(1, window=window) if self._masked else None
            confidence = None if self._confidence is None else self._confidence.read(1, window=window)
            probabilities = None if self._probabilities is None else self._probabilities.read(window=window)
        except RasterioError as error:
            raise SceneError(
                f"{self._classes.name} or a raster given with it cannot be read: {error}"
            ) from error
        return BlockValues(row, column, self._as_bytes(classes, mask), confidence, probabilities)

    def _as_bytes(
        self, classes: NDArray[np.integer[Any]], mask: NDArray[np.uint8] | None
    ) -> NDArray[np.uint8]:
        """Class ids as uint8 with 255 for nodata; everything else is refused."""
        if classes.dtype == np.uint8 and mask is None and self._nodata in (None, NODATA):
            return classes.astype(np.uint8, copy=False)
        nodata = NODATA if self._nodata is None else self._nodata
        empty = classes == nodata
        if mask is not None:
            empty |= mask == 0
        wrong = ~empty & ((classes < 0) | (classes >= NODATA))
        if wrong.any():
            raise SceneError(
                f"{self._classes.name} holds the value {int(classes[wrong][0])}, which is no class: "
                "class ids are 0 to 254; reclassify it or set the file's nodata value"
            )
        return np.where(empty, NODATA, classes).astype(np.uint8)


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
            dataset = opened.enter_context(rasterio.open(fspath(path)))
    except RasterioError as error:
        raise SceneError(f"the {what} {fspath(path)} cannot be opened: {error}") from error
    if one_band and dataset.count != 1:
        raise SceneError(f"the {what} {dataset.name} has {dataset.count} bands; it must have one")
    if dataset.count == 0 or any(dtype not in dtypes for dtype in dataset.dtypes):
        held = ", ".join(sorted(set(dataset.dtypes))) or "no bands"
        raise SceneError(f"the {what} {dataset.name} holds {held}; it must be {' or '.join(dtypes)}")
    return dataset


def _require_same_grid(classes: Any, other: Any) -> None:
    if other.shape != classes.shape:
        raise SceneError(
            f"{other.name} has {other.height} x {other.width} pixels, {classes.name} {classes.height} x "
            f"{classes.width} (rows x columns); give the raster of the same run"
        )
    corners = [(0, 0), (classes.width, 0), (0, classes.height)]
    pixel = max(map(abs, classes.transform[:6][:2] + classes.transform[:6][3:5]))
    shift = max(
        max(abs(a - b) for a, b in zip(_at(classes.transform, *c), _at(other.transform, *c), strict=True))
        for c in corners
    )
    if shift > 0.01 * pixel or (classes.crs and other.crs and classes.crs != other.crs):
        raise SceneError(
            f"{other.name} does not lie on the grid of {classes.name}; give the raster of the same run"
        )


def _at(transform: Affine, column: float, row: float) -> tuple[float, float]:
    return (
        column * transform.a + row * transform.b + transform.c,
        column * transform.d + row * transform.e + transform.f,
    )


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
