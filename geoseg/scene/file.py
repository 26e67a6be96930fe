"""Read stored values and masks from the files of a scene, one file or the tiles of a mosaic."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import DamagedFileError, RunError
from geoseg.grid import Window
from geoseg.raster.source import GDAL_ERRORS, Source, borrow, file_name, is_remote
from geoseg.scene.band import Layer, can_hold

_QUOTED = re.compile(r'[A-Za-z]\w+:(?:\w+:)?"([^"]+)":?(.*)')
_UNQUOTED = re.compile(r"[A-Za-z]\w+:(?!//)([^\"]+):([^:]*)")
_CODEC = re.compile(
    r"\bcodec\b|compression (?:method|scheme|algorithm)|not (?:configured|compiled)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Pixels:
    """The stored values and masks of a file in a window.

    Attributes:
        stored: (bands, rows, columns) in the file's dtype.
        hidden: (rows, columns) bool, True where the dataset's mask or alpha is 0; None if it has neither.
        hidden_cells: (bands, rows, columns) bool, True where a band's own mask is 0; None without such masks.
    """

    stored: NDArray[np.generic]
    hidden: NDArray[np.bool_] | None = None
    hidden_cells: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class SceneFile:
    """One file of a scene.

    Attributes:
        source: The dataset to open.
        window: The scene's pixels that this file holds.
        alpha: 1-based number of its alpha band, or None.
        alpha_is_coverage: Whether a warp made the alpha band. It then shows where this file has data;
            elsewhere the bands of this file are nodata, but those of other files may have values.
        mask_of: 1-based number of a band whose mask holds for all bands (in the file, or a ``.msk`` beside
            it).
        has_band_masks: Whether each band has its own mask.
        bad: Windows of the file, whole blocks, that cannot be read and count as nodata.
    """

    source: Source
    window: Window
    alpha: int | None = None
    alpha_is_coverage: bool = False
    mask_of: int | None = None
    has_band_masks: bool = False
    bad: tuple[Window, ...] = ()

    @classmethod
    def of(cls, source: Source, dataset: Any) -> SceneFile:
        """Describe an open dataset as the only file of a scene."""
        alphas = [i for i, colour in enumerate(dataset.colorinterp, 1) if colour == ColorInterp.alpha]
        colour_bands = [i for i in range(1, dataset.count + 1) if i not in alphas]
        flags = {i: set(dataset.mask_flag_enums[i - 1]) for i in colour_bands}
        declared = {MaskFlags.alpha, MaskFlags.nodata}
        masked = [i for i, f in flags.items() if MaskFlags.per_dataset in f and not f & declared]
        return cls(
            source=source,
            window=Window(0, 0, dataset.height, dataset.width),
            alpha=alphas[-1] if alphas else None,
            mask_of=masked[0] if masked else None,
            has_band_masks=any(not f for f in flags.values()),
        )

    def at(self, row: int, col: int) -> SceneFile:
        """Return the file placed with its first pixel at (row, column) of the scene."""
        return replace(self, window=Window(row, col, *self.window.shape))

    def is_absent(self, layers: Sequence[Layer], window: Window) -> bool:
        """Whether a TIFF stores no block of some layers in a window of the scene, and says nodata for them.

        Sparse files of billions of pixels take minutes to read, block after block of nothing.
        """
        inside = window.intersection(self.window)
        if inside is None:
            return True
        with borrow(self.source) as dataset:
            if self.source.warp is not None or dataset.driver != "GTiff":
                return False
            for layer in layers:
                fill, dtype = dataset.nodatavals[layer.index - 1] or 0, np.dtype(layer.band.dtype)
                if dtype.kind != "f" and not can_hold(dtype, fill):
                    return False
                if not layer.band.missing(np.array([fill], dtype)).all():
                    return False
                height, width = dataset.block_shapes[layer.index - 1]
                top, left = inside.row - self.window.row, inside.col - self.window.col
                rows = range(top // height, -(-(top + inside.height) // height))
                cols = range(left // width, -(-(left + inside.width) // width))
                blocks = (f"BLOCK_OFFSET_{col}_{row}" for row, col in product(rows, cols))
                if any(dataset.get_tag_item(block, "TIFF", layer.index) for block in blocks):
                    return False
        return True

    def read(self, indexes: Sequence[int], window: Window, *, use_alpha: bool) -> Pixels:
        """Read bands in a window of the scene, which lies inside this file.

        Args:
            indexes: 1-based band numbers in this file, without repeats, all of one dtype.
            window: Window on the scene's grid.
            use_alpha: Whether the alpha band hides pixels; False if it is read as a band.

        Raises:
            RunError: If the file cannot be read there.
        """
        inside = Window(
            window.row - self.window.row, window.col - self.window.col, window.height, window.width
        )
        holes = [common for bad in self.bad if (common := bad.intersection(inside)) is not None]
        try:
            if holes:
                return self._read_around(holes, indexes, inside, use_alpha=use_alpha)
            return self._read(indexes, inside, use_alpha=use_alpha)
        except GDAL_ERRORS as error:
            raise self._unreadable(indexes, inside, error) from error

    def _read(self, indexes: Sequence[int], inside: Window, *, use_alpha: bool) -> Pixels:
        """Read a window of the file."""
        part = RasterioWindow(inside.col, inside.row, inside.width, inside.height)
        with borrow(self.source) as dataset:
            stored = dataset.read(list(indexes), window=part)
            hidden = hidden_cells = None
            if self.mask_of is not None:
                hidden = dataset.read_masks(self.mask_of, window=part) == 0
            if self.alpha is not None and use_alpha:
                transparent = dataset.read(self.alpha, window=part) == 0
                hidden = transparent if hidden is None else hidden | transparent
            if self.has_band_masks:
                hidden_cells = dataset.read_masks(list(indexes), window=part) == 0
        return Pixels(stored, hidden, hidden_cells)

    def _read_around(
        self, holes: Sequence[Window], indexes: Sequence[int], inside: Window, *, use_alpha: bool
    ) -> Pixels:
        """Read a window of the file without some blocks, whose pixels are hidden."""
        rows = sorted(
            {inside.row, inside.row_stop, *(x for hole in holes for x in (hole.row, hole.row_stop))}
        )
        cols = sorted(
            {inside.col, inside.col_stop, *(x for hole in holes for x in (hole.col, hole.col_stop))}
        )
        with borrow(self.source) as dataset:
            dtype = dataset.dtypes[indexes[0] - 1]
        stored = np.zeros((len(indexes), *inside.shape), dtype)
        hidden = np.ones(inside.shape, bool)
        hidden_cells = np.zeros(stored.shape, bool)
        for (top, bottom), (left, right) in product(pairwise(rows), pairwise(cols)):
            part = Window.from_bounds(top, left, bottom, right)
            if any(hole.intersection(part) for hole in holes):
                continue
            pixels = self._read(indexes, part, use_alpha=use_alpha)
            where = part.slices(inside)
            stored[(slice(None), *where)] = pixels.stored
            hidden[where] = False if pixels.hidden is None else pixels.hidden
            if pixels.hidden_cells is not None:
                hidden_cells[(slice(None), *where)] = pixels.hidden_cells
        return Pixels(stored, hidden, hidden_cells if self.has_band_masks else None)

    def _unreadable(self, indexes: Sequence[int], inside: Window, error: BaseException) -> RunError:
        """Say which part of a window cannot be read, and why."""
        path = self.source.path
        if is_remote(path):
            why = f"the connection was lost, or the file is damaged ({reason(error)})"
            return RunError(f"{path}: {place(inside)} cannot be read: {why}")
        bad = next(iter(find_bad_blocks(self, inside, indexes)), inside)
        if is_about_codec(error):
            return DamagedFileError(f"{path}: {place(bad)} cannot be read: {reason(error)}")
        return DamagedFileError(
            f"{path}: {place(bad)} cannot be read: the file is damaged or incomplete "
            f"({reason(error)}); get it again, or predict --skip-bad-blocks maps the rest"
        )


def find_bad_blocks(
    file: SceneFile, within: Window | None = None, indexes: Sequence[int] = ()
) -> Iterator[Window]:
    """Read a file block by block, and yield the blocks that cannot be read, as windows of the file.

    Args:
        file: The file.
        within: Look only at blocks that touch this window.
        indexes: The bands; all of them by default.
    """
    with borrow(file.source) as dataset:
        shape, dtypes = dataset.shape, dataset.dtypes
        height, width = (max(block[i] for block in dataset.block_shapes) for i in (0, 1))
    bands = indexes or range(1, len(dtypes) + 1)
    groups = [[i for i in bands if dtypes[i - 1] == dtype] for dtype in dict.fromkeys(dtypes)]
    within = within or Window.from_shape(shape)

    def is_whole(window: Window) -> bool:
        try:
            for group in groups:
                if group:
                    file._read(group, window, use_alpha=file.alpha not in group)
        except GDAL_ERRORS:
            return False
        return True

    first = within.col // width * width
    for row in range(within.row // height * height, within.row_stop, height):
        bottom = min(row + height, shape[0])
        if is_whole(Window.from_bounds(row, first, bottom, min(within.col_stop, shape[1]))):
            continue
        for col in range(first, within.col_stop, width):
            block = Window.from_bounds(row, col, bottom, min(col + width, shape[1]))
            if not is_whole(block):
                yield block


def place(window: Window) -> str:
    """Say where a window lies."""
    return f"rows {window.row}-{window.row_stop - 1}, columns {window.col}-{window.col_stop - 1}"


@dataclass(frozen=True, slots=True)
class Raw:
    """Stored values of a window, before scale and offset.

    Attributes:
        stored: One array (rows, columns) per band, each in its file's dtype.
        missing: bool (bands, rows, columns), True where a band is nodata, not finite, or masked by its own
            mask.
        hidden: bool (rows, columns), True where a mask or alpha is 0, or outside all tiles.
    """

    stored: list[NDArray[np.generic]]
    missing: NDArray[np.bool_]
    hidden: NDArray[np.bool_]

    def rows(self, rows: slice) -> Raw:
        """Return some rows, as views."""
        return Raw([stored[rows] for stored in self.stored], self.missing[:, rows], self.hidden[rows])

    def valid(self, invalid_where: str) -> NDArray[np.bool_]:
        """Return the valid pixels, bool (rows, columns), under the rule "all" or "any"."""
        empty = self.missing.all(axis=0) if invalid_where == "all" else self.missing.any(axis=0)
        valid: NDArray[np.bool_] = ~(self.hidden | empty)
        return valid


def read_stack(files: Sequence[SceneFile], layers: Sequence[Layer], window: Window) -> Raw:
    """Read layers of one stack in a window of the scene.

    Where tiles overlap, the first tile that has data at a pixel provides all bands of that pixel.

    Args:
        files: One file that covers the scene, or the tiles of a mosaic.
        layers: Layers of that stack; repeats are allowed.
        window: A window inside the scene.

    Raises:
        RunError: If a file cannot be read.
    """
    if len(files) == 1:
        return _read_file(files[0], layers, window)
    raw = Raw(
        stored=[np.zeros(window.shape, layer.band.dtype) for layer in layers],
        missing=np.ones((len(layers), *window.shape), bool),
        hidden=np.ones(window.shape, bool),
    )
    for file in files:
        part = window.intersection(file.window)
        if part is None:
            continue
        rows, cols = part.slices(window)
        open_pixels = raw.hidden[rows, cols]
        if not open_pixels.any():
            continue
        tile = _read_file(file, layers, part)
        take = open_pixels & tile.valid("all")
        for target, stored in zip(raw.stored, tile.stored, strict=True):
            target[rows, cols][take] = stored[take]
        raw.missing[:, rows, cols][:, take] = tile.missing[:, take]
        open_pixels[take] = False
    return raw


def _read_file(file: SceneFile, layers: Sequence[Layer], window: Window) -> Raw:
    """Read layers from one file, each band once, bands of one dtype together."""
    use_alpha = not any(layer.is_alpha for layer in layers)
    stored: dict[int, NDArray[np.generic]] = {}
    own_mask: dict[int, NDArray[np.bool_]] = {}
    hidden = np.zeros(window.shape, bool)
    for dtype in dict.fromkeys(layer.band.dtype for layer in layers):
        indexes = sorted({layer.index for layer in layers if layer.band.dtype == dtype})
        pixels = file.read(indexes, window, use_alpha=use_alpha)
        stored.update(zip(indexes, pixels.stored, strict=True))
        if pixels.hidden is not None:
            hidden = pixels.hidden
        if pixels.hidden_cells is not None:
            own_mask.update(zip(indexes, pixels.hidden_cells, strict=True))
    missing = np.empty((len(layers), *window.shape), bool)
    if file.alpha_is_coverage:
        absent, hidden = hidden, np.zeros(window.shape, bool)
    for i, layer in enumerate(layers):
        missing[i] = layer.band.missing(stored[layer.index])
        if file.alpha_is_coverage:
            missing[i] |= absent
        if layer.index in own_mask:
            missing[i] |= own_mask[layer.index]
    return Raw([stored[layer.index] for layer in layers], missing, hidden)


def reason(error: BaseException) -> str:
    """Return GDAL's message, which rasterio keeps in the cause of its own "see above"."""
    text = str(error.__cause__ or error).strip()
    text = text.splitlines()[0] if text else type(error).__name__
    if not is_about_codec(error):
        return text
    return (
        f"{text.rstrip('.')}; the file may be whole, but this GDAL cannot decode its compression: use "
        "gdal_translate -co COMPRESS=DEFLATE where GDAL can"
    )


def is_about_codec(error: BaseException) -> bool:
    """Tell whether GDAL lacks the codec of a file's compression."""
    return bool(_CODEC.search(str(error.__cause__ or error)))


def stem(path: str) -> str:
    """Return the file name of a path, URL or sub-dataset without its extension, fit to name outputs after."""
    inside = split_dataset_name(path)
    name = PurePosixPath(file_name(inside[0] if inside else path)).stem or "scene"
    return re.sub(r'[<>:"|?*]', "_", name) if inside else name


def split_dataset_name(path: str) -> tuple[str, str] | None:
    """Split the name of a sub-dataset into its file and variable: ``NETCDF:scene.nc:red``, ``HDF5:"a.h5"://b/red``.

    Returns:
        None for a path, a URL, and other strings.
    """
    match = _QUOTED.fullmatch(path) or _UNQUOTED.fullmatch(path)
    if match is None:
        return None
    variable = [part for part in re.split("[:/]+", match.group(2)) if part and not part.isdecimal()]
    return match.group(1), variable[-1] if variable else ""
