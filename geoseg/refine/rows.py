"""A class map in a temporary file, read and written by whole rows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import RunError


class RowFile:
    """One byte a pixel, row after row, in a nameless file that is gone when it is closed.

    Args:
        shape: Rows and columns.
        folder: Where the file is made; None for the system's place.
    """

    def __init__(self, shape: tuple[int, int], folder: Path | None = None) -> None:
        self.shape = shape
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, prefix=".geoseg-")  # noqa: SIM115 - lives on

    def write(self, row: int, classes: NDArray[np.uint8]) -> None:
        """Write rows.

        Args:
            row: The first of them.
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
        """Rows, uint8 (height, columns)."""
        self._file.seek(row * self.shape[1])
        stored = np.frombuffer(self._file.read(height * self.shape[1]), dtype=np.uint8)
        return stored.reshape(height, self.shape[1])

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
