"""The scene: bands of one or many files on one grid, read window by window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.omissions import Omission
from geoseg.raster.georeference import Georeference
from geoseg.raster.source import close
from geoseg.scene.band import Band, Layer
from geoseg.scene.file import Raw, SceneFile, read_stack, stem

INVALID_WHERE = ("all", "any")
_STRIP_ROWS = 512
_AT_ONCE = 2**18
"""Values converted to physical units at once, few enough to stay in the processor's cache."""


@dataclass(frozen=True)
class Scene:
    """One or many files on one grid, read window by window.

    A scene holds no open file: it is a value that can be pickled, and read in any thread or process. Handles
    are opened on first use, one per thread.

    Attributes:
        paths: The files, as given.
        shape: (rows, columns).
        layers: The bands to read, in order.
        all_layers: Every band of the files, alpha bands included.
        stacks: The files: each stack holds some of the bands, in one file or in several tiles.
        georeference: The georeferencing of the files, unchanged.
        storage_block_shape: (rows, columns) of the first file's own blocks.
        invalid_where: Whether a pixel is invalid if "all" of the bands are nodata, or if "any" is.
        date: Day of acquisition as ``YYYY-MM-DD``, or None; never the time of a file or of the run.
        tags: Metadata of the files and of the product files beside them.
        sensor: Key of the sensor in ``geoseg.scene.band_names.SENSORS``; None if it is not certain.
        omissions: What of the files is left out.
        remarks: What the files say and is not believed.
        is_scale_given: Whether the user gave scale or offset, so that nothing else is decided.
        atmosphere: What the user wants: "auto", "none" or "approximate".
    """

    paths: tuple[str, ...]
    shape: tuple[int, int]
    layers: tuple[Layer, ...]
    all_layers: tuple[Layer, ...]
    stacks: tuple[tuple[SceneFile, ...], ...]
    georeference: Georeference = field(compare=False)
    storage_block_shape: tuple[int, int] = (256, 256)
    invalid_where: str = "all"
    date: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)
    sensor: str | None = None
    omissions: tuple[Omission, ...] = field(default=(), compare=False)
    remarks: tuple[str, ...] = field(default=(), compare=False)
    is_scale_given: bool = False
    atmosphere: str = "auto"

    @property
    def name(self) -> str:
        """The first file's name without folder and extension, after which outputs are named."""
        return stem(self.paths[0])

    @property
    def bands(self) -> tuple[Band, ...]:
        """The bands that ``read`` returns, in order."""
        return tuple(layer.band for layer in self.layers)

    @cached_property
    def gsd(self) -> float | None:
        """Metres per pixel at the centre, the geometric mean of both directions; None if unknown."""
        return self.georeference.gsd(self.shape)

    @cached_property
    def places(self) -> NDArray[np.float64] | None:
        """Longitude and latitude of places spread evenly over it, (places, 2); None if unknown."""
        return self.georeference.spread(self.shape)

    @property
    def strip_rows(self) -> int:
        """Rows worth reading at once: whole blocks of the first file, 512 or more."""
        height = self.storage_block_shape[0]
        return height * -(-_STRIP_ROWS // height)

    @property
    def is_geographic(self) -> bool:
        """Whether the CRS is in degrees."""
        return self.georeference.is_geographic

    def select(self, bands: Sequence[int], *, invalid_where: str = "all") -> Scene:
        """Return a view of the scene with these bands.

        Args:
            bands: 1-based band numbers in the wanted order; repeats are allowed. An alpha band among them is
                read as a band and no longer masks pixels.
            invalid_where: Whether a pixel is invalid if "all" of these bands are nodata, or if "any" is.

        Raises:
            SceneError: If the scene has no such band.
        """
        if invalid_where not in INVALID_WHERE:
            raise SceneError(f"invalid_where is {' or '.join(INVALID_WHERE)}, not {invalid_where!r}")
        if not bands:
            raise SceneError(f"{self.paths[0]}: no band was asked for")
        by_number = {layer.band.number: layer for layer in self.all_layers}
        for number in bands:
            if number not in by_number:
                raise SceneError(f"{self.paths[0]}: no band {number}; the scene has {describe(self.bands)}")
        layers = tuple(by_number[number] for number in bands)
        return replace(self, layers=layers, invalid_where=invalid_where)

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read the bands in a window.

        Args:
            window: A window inside the scene.

        Returns:
            values: float32 (bands, rows, columns) in physical units (stored * scale + offset); NaN where a
                band is nodata, not finite, or masked.
            valid: bool (rows, columns).

        Raises:
            SceneError: If the window reaches beyond the scene.
            RunError: If a file cannot be read.
        """
        values = np.empty((len(self.layers), *window.shape), np.float32)
        valid = np.empty(window.shape, bool)
        for rows, few, few_valid in self.read_rows(window):
            values[:, rows], valid[rows] = few, few_valid
        return values, valid

    def read_rows(self, window: Window) -> Iterator[tuple[slice, NDArray[np.float32], NDArray[np.bool_]]]:
        """Do as ``read``, but yield a few rows at a time, which what follows finds in the processor's cache.

        Yields:
            rows: Which rows of the window.
            values, valid: What ``read`` returns, of these rows.
        """
        raw = self.read_raw(window)
        step = max(1, _AT_ONCE // (len(self.layers) * window.width))
        for first in range(0, window.height, step):
            rows = slice(first, min(first + step, window.height))
            yield rows, *self._convert(raw.rows(rows))

    def _convert(self, raw: Raw) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Convert stored values to physical units, NaN where there is none; and find the valid pixels."""
        values = np.empty(raw.missing.shape, np.float32)
        for layer, stored, target in zip(self.layers, raw.stored, values, strict=True):
            layer.band.physical(stored, target)
        if not (raw.missing.any() or raw.hidden.any()):
            return values, np.ones(raw.hidden.shape, bool)
        np.copyto(values, np.nan, where=raw.missing | raw.hidden)
        return values, raw.valid(self.invalid_where)

    def read_raw(self, window: Window) -> Raw:
        """Read the stored values of a window, unscaled, with masks; raise as ``read`` does."""
        inside = window.intersection(Window.from_shape(self.shape))
        if inside != window:
            rows, cols = self.shape
            raise SceneError(f"{window} is not inside the scene of {rows} rows x {cols} columns")
        if len({layer.stack for layer in self.layers}) == 1:
            return read_stack(self.stacks[self.layers[0].stack], self.layers, window)
        raw = Raw(
            stored=[np.empty(0)] * len(self.layers),
            missing=np.empty((len(self.layers), *window.shape), bool),
            hidden=np.zeros(window.shape, bool),
        )
        for number, files in enumerate(self.stacks):
            wanted = [i for i, layer in enumerate(self.layers) if layer.stack == number]
            if not wanted:
                continue
            part = read_stack(files, [self.layers[i] for i in wanted], window)
            for i, stored in zip(wanted, part.stored, strict=True):
                raw.stored[i] = stored
            raw.missing[wanted] = part.missing
            raw.hidden[:] |= part.hidden
        return raw

    def is_absent(self, window: Window) -> bool:
        """Whether sparse files store nothing in a window; then reading it gives nodata."""
        return all(
            file.is_absent([layer for layer in self.layers if layer.stack == number], window)
            for number, files in enumerate(self.stacks)
            for file in files
        )

    def close(self) -> None:
        """Close the handles of this process; reading opens them again."""
        close({file.source for files in self.stacks for file in files})


def describe(bands: Sequence[Band]) -> str:
    """Return bands as messages list them: ``1 (B02, blue), 2 (B03, green)``."""
    return ", ".join(str(band) for band in bands) or "no bands"
