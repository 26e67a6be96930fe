"""Refine steps: their protocol, the strips of a map that they process, and applying them to a whole map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.errors import RunError
from geoseg.files import scratch_file
from geoseg.progress import Bar, Progress, Silent


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Whole rows of a map with a halo, the pixels around them that a step needs.

    Attributes:
        row: First row of the strip in the map.
        classes: Class ids, uint8 (rows + 2 halo, columns + 2 halo); ``NODATA`` beyond the map.
        halo: Rows and columns of context on every side.
        is_first: Whether it is the first strip of the map.
        is_last: Whether it is the last strip of the map.
        probabilities: Stored probabilities, 0-250 and 255 unknown, uint8 (bands, rows, columns) without the
            halo; None if there are none, or the step does not use them.
    """

    row: int
    classes: NDArray[np.uint8]
    halo: int
    is_first: bool
    is_last: bool
    probabilities: NDArray[np.uint8] | None = None

    @property
    def core(self) -> NDArray[np.uint8]:
        """The class ids without the halo, as a view."""
        inside = slice(self.halo, -self.halo or None)
        return self.classes[inside, inside]


Change = Callable[[Strip], NDArray[np.uint8]]
"""Returns the new class ids of a strip, uint8 (rows, columns)."""


class Step(Protocol):
    """Changes a class map; the result must not depend on how the map is cut into strips."""

    @property
    def name(self) -> str:
        """Name, for progress and errors."""

    @property
    def passes(self) -> int:
        """How often it reads the map: 2 if ``study`` reads it, else 1."""

    @property
    def halo(self) -> int:
        """Pixels around a strip on which its result depends."""

    @property
    def uses_probabilities(self) -> bool:
        """Whether its result depends on the probabilities."""

    def study(self, strips: Iterable[Strip]) -> Change:
        """Gather what a strip with its halo does not show, and return the function that changes strips.

        Args:
            strips: All strips of the map from top to bottom, read on demand. A step for which the halo is
                enough does not read them.

        Returns:
            The function to call once for every strip, in the same order.
        """


def choose(likely: NDArray[Any], around: NDArray[Any]) -> NDArray[np.int64]:
    """Choose one neighbouring class for each row: the most likely one.

    Ties go to the class with the larger share around, then to the first.

    Args:
        likely: Likelihood, (rows, classes), at least 0.
        around: How much of each class is around, (rows, classes); 0 for a class that is no neighbour. Every
            row has at least one neighbour.

    Returns:
        Index of the class, int64 (rows,).
    """
    likely = np.where(around > 0, likely, -1)
    best = likely == likely.max(axis=1, keepdims=True)
    chosen: NDArray[np.int64] = np.where(best, around, -1).argmax(axis=1)
    return chosen


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
