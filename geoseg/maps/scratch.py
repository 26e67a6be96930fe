"""An uncompressed raster for pixels that are read again, or changed, before they are final."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window as RasterioWindow

from geoseg.grid import Window
from geoseg.maps.cog.pyramid import TILE


class ScratchRaster:
    """A raster that is written once, window by window, and then read or changed by whoever opens it.

    Args:
        path: The file; made now.
        shape: (rows, columns).
        bands: Its bands.
        describe: Sets georeferencing, nodata, palette, tags of an open rasterio dataset.
    """

    def __init__(
        self, path: Path, shape: tuple[int, int], bands: int, describe: Callable[[Any], None]
    ) -> None:
        self._path = path
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
            self._dataset = rasterio.open(
                path,
                "w",
                driver="GTiff",
                dtype="uint8",
                count=bands,
                height=shape[0],
                width=shape[1],
                tiled=True,
                blockxsize=TILE,
                blockysize=TILE,
                interleave="band",
                sparse_ok=True,
                bigtiff="IF_SAFER",
            )
            describe(self._dataset)

    def write(self, window: Window, pixels: NDArray[np.uint8]) -> None:
        """Write one window, uint8 (bands, rows, columns)."""
        self._dataset.write(pixels, window=_place(window))

    def close(self) -> Path:
        """End writing; returns the file."""
        self._dataset.close()
        return self._path

    def strips(self, height: int) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
        """Read it as it is now, in whole rows from top to bottom."""
        self.close()
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
            dataset = rasterio.open(self._path)
        with dataset:
            rows, cols = dataset.shape
            for row in range(0, rows, height):
                window = Window(row, 0, min(height, rows - row), cols)
                yield window, dataset.read(window=_place(window))

    def remove(self) -> None:
        """Remove the file."""
        self._dataset.close()
        self._path.unlink(missing_ok=True)


def _place(window: Window) -> RasterioWindow:
    return RasterioWindow(window.col, window.row, window.width, window.height)
