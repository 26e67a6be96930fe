"""Apply refine steps to a map, strip by strip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.errors import RunError
from geoseg.files import scratch_file
from geoseg.progress import Bar, Progress, Silent
from geoseg.refine.step import Step, Strip

STRIP_PIXELS = 2**20
"""Approximate pixels of a strip: larger strips are not faster, and need more memory."""

ReadRows = Callable[[int, int], NDArray[np.uint8]]
"""Reads whole rows, given the first row and the number of rows."""


def refine_map(
    classes: RowFile,
    steps: Sequence[Step],
    *,
    probabilities: ReadRows | None = None,
    folder: Path | None = None,
    rows: int | None = None,
    progress: Progress | None = None,
) -> RowFile:
    """Apply steps to a whole map, one after the other.

    Args:
        classes: The class map; closed when it is no longer needed.
        steps: The steps, in order.
        probabilities: Reads stored probabilities of rows, uint8 (bands, rows, columns); needed by steps that
            use them.
        folder: Folder for temporary files; None for the system's.
        rows: Rows of a strip; changes memory, never the result. Default by the width of the map.
        progress: Shows the megapixels that are done, one stage for each step.

    Returns:
        The refined map.
    """
    rows = rows or max(1, STRIP_PIXELS // classes.shape[1])
    progress = progress or Silent()
    megapixels = classes.shape[0] * classes.shape[1] / 1e6
    for step in steps:
        read = probabilities if step.uses_probabilities else None
        refined = RowFile(classes.shape, folder)
        with progress.stage(f"refining ({step.name})", step.passes * megapixels, "Mpx") as bar:
            change = step.study(_count(_strips(classes, 0, rows, read), bar))
            for strip in _count(_strips(classes, step.halo, rows, read), bar):
                refined.write(strip.row, change(strip))
        classes.close()
        classes = refined
    return classes


def refine_array(
    classes: NDArray[np.uint8],
    steps: Sequence[Step],
    probabilities: NDArray[np.uint8] | None = None,
    rows: int | None = None,
) -> NDArray[np.uint8]:
    """Apply steps to a map in memory; see ``refine_map``.

    Args:
        classes: uint8 (rows, columns).
        steps: The steps, in order.
        probabilities: uint8 (bands, rows, columns), or None.
        rows: Rows of a strip.

    Returns:
        The refined map, uint8 (rows, columns).
    """
    given = RowFile((classes.shape[0], classes.shape[1]))
    given.write(0, classes)
    read = None if probabilities is None else lambda row, height: probabilities[:, row : row + height]
    refined = refine_map(given, steps, probabilities=read, rows=rows)
    try:
        return refined.read(0, classes.shape[0])
    finally:
        refined.close()


class RowFile:
    """A class map in a temporary file, one byte per pixel; read and written by rows.

    Args:
        shape: Rows and columns.
        folder: Folder for the file; None for the system's.
    """

    def __init__(self, shape: tuple[int, int], folder: Path | None = None) -> None:
        self.shape = shape
        self._file = scratch_file(folder)

    def write(self, row: int, classes: NDArray[np.uint8]) -> None:
        """Write rows.

        Args:
            row: The first row.
            classes: uint8 (rows, columns).

        Raises:
            RunError: If the disk is full.
        """
        self._file.seek(row * self.shape[1])
        try:
            self._file.write(np.ascontiguousarray(classes).data)
        except OSError as error:
            raise RunError(f"the map cannot be refined ({error}); is the disk full?") from error

    def read(self, row: int, height: int) -> NDArray[np.uint8]:
        """Read rows, uint8 (height, columns)."""
        self._file.seek(row * self.shape[1])
        stored = np.frombuffer(self._file.read(height * self.shape[1]), dtype=np.uint8)
        return stored.reshape(height, self.shape[1])

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


def _strips(classes: RowFile, halo: int, rows: int, probabilities: ReadRows | None) -> Iterator[Strip]:
    height, width = classes.shape
    for row in range(0, height, rows):
        count = min(rows, height - row)
        first, stop = max(0, row - halo), min(height, row + count + halo)
        padded = np.full((count + 2 * halo, width + 2 * halo), NODATA, dtype=np.uint8)
        top = first - (row - halo)
        padded[top : top + stop - first, halo : halo + width] = classes.read(first, stop - first)
        yield Strip(
            row=row,
            classes=padded,
            halo=halo,
            is_first=row == 0,
            is_last=row + count == height,
            probabilities=None if probabilities is None else probabilities(row, count),
        )


def _count(strips: Iterable[Strip], bar: Bar) -> Iterator[Strip]:
    """Pass strips on, and advance the bar when the step is done with one."""
    for strip in strips:
        yield strip
        bar.advance(strip.core.size / 1e6)
