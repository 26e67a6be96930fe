"""Refine the class and confidence rasters of a map, rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.classes import NODATA
from geoseg.errors import RunError
from geoseg.maps.kinds import CONFIDENCE_ONE, PROBABILITY_BYTE_ONE
from geoseg.progress import Progress
from geoseg.refine.step import STRIP_PIXELS, ReadRows, RowFile, Step, refine_map

ReadMap = Callable[[int, int], tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]
"""Reads class ids and confidence (or None) of whole rows, given the first row and the number of rows."""


@dataclass(frozen=True)
class RefinedRows:
    """Whole rows of a refined map.

    Attributes:
        row: The first row.
        classes: Class ids, 255 nodata, uint8 (rows, columns).
        confidence: Percent, 255 unknown, uint8 (rows, columns); None without.
        changed: Number of pixels whose class changed.
    """

    row: int
    classes: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None
    changed: int


@dataclass(frozen=True)
class MapToRefine:
    """A map to refine.

    Attributes:
        shape: Rows and columns.
        read: Reads the map before it is refined.
        probabilities: Reads stored probabilities of whole rows, uint8 (bands, rows, columns); None without.
        bands: Class of each probability band, ascending.
        folder: Folder for temporary files.
    """

    shape: tuple[int, int]
    read: ReadMap
    probabilities: ReadRows | None
    bands: Sequence[int]
    folder: Path

    def rows(self, steps: Sequence[Step], progress: Progress) -> Iterator[RefinedRows]:
        """Apply the steps, and yield the whole map from top to bottom.

        A pixel that changed gets the stored probability of its new class as confidence, or none (255) without
        probabilities.
        """
        given = RowFile(self.shape, self.folder)
        for row, height in self._strips():
            given.write(row, self.read(row, height)[0])

        refined = refine_map(
            given, steps, probabilities=self.probabilities, folder=self.folder, progress=progress
        )
        try:
            for row, height in self._strips():
                yield self._join(row, refined.read(row, height))
        finally:
            refined.close()

    def _strips(self) -> Iterator[tuple[int, int]]:
        step = max(1, STRIP_PIXELS // self.shape[1])
        for row in range(0, self.shape[0], step):
            yield row, min(step, self.shape[0] - row)

    def _join(self, row: int, classes: NDArray[np.uint8]) -> RefinedRows:
        before, confidence = self.read(row, len(classes))
        changed = classes != before
        if confidence is not None and changed.any():
            confidence = np.where(changed, NODATA, confidence).astype(np.uint8)
            if self.probabilities is not None:
                stored = self.probabilities(row, len(classes))
                for band, value in zip(stored, self.bands, strict=True):
                    now = changed & (classes == value)
                    confidence[now] = to_confidence(band[now])
        return RefinedRows(row, classes, confidence, int(np.count_nonzero(changed)))


def to_confidence(stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert stored probabilities (0-250) to confidence (0-100), rounded half up; 255 stays unknown."""
    percent = (2 * CONFIDENCE_ONE * stored.astype(np.int32) + PROBABILITY_BYTE_ONE) // (
        2 * PROBABILITY_BYTE_ONE
    )
    return np.where(stored == NODATA, NODATA, percent).astype(np.uint8)


def read_rows(dataset: Any, row: int, height: int) -> NDArray[Any]:
    """Read whole rows of all bands of an open rasterio dataset, (bands, rows, columns).

    Raises:
        RunError: If the file is damaged.
    """
    try:
        pixels: NDArray[Any] = dataset.read(window=RasterioWindow(0, row, dataset.width, height))
    except RasterioError as error:
        raise RunError(f"{dataset.name} cannot be read ({error})") from error
    return pixels


@contextmanager
def open_quietly(path: Path, mode: str = "r") -> Iterator[Any]:
    """Open a raster without rasterio's warning about missing georeferencing."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        dataset = rasterio.open(path, mode)
    with dataset:
        yield dataset
