"""Write a Cloud Optimized GeoTIFF as a stream: compress tiles as soon as they are complete.

After the last pixel, only the header has to be made and the compressed tiles have to be copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from geoseg.grid import Window
from geoseg.maps.cog.pyramid import Bytes, Halve, Pyramid, Tile
from geoseg.maps.cog.tiff import LEADER, TRAILER, cog_header
from geoseg.maps.cog.tiles import Spool, directory_of
from geoseg.system.cpu import BackgroundThread

CLASSIC_LIMIT = 2**32
"""Size in bytes above which a file must be a BigTIFF."""
_WAITING = 2
"""Windows that may wait for the compressing thread."""
_BATCH = 16
"""Tiles compressed at once."""


class StreamedCog:
    """Compress one raster in a background thread while it is written.

    The bytes of the file depend on the pixels and the description alone. The next call raises an error that
    occurred in the thread.

    Args:
        shape: (rows, columns).
        bands: Number of bands.
        halve: Halves the resolution, for overviews.
        level: Level of deflate, 1 to 9.
        spool: File for compressed tiles; removed by ``close``.
        describe: Sets georeferencing, nodata, palette and tags of an open rasterio dataset.
        describe_overview: Sets those of them that an overview has too.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        bands: int,
        *,
        halve: Halve,
        level: int,
        spool: Path,
        describe: Callable[[Any], None],
        describe_overview: Callable[[Any], None],
    ) -> None:
        self._pyramid = Pyramid(shape, bands, halve)
        full, *smaller = self._pyramid.shapes
        self._directories = [
            directory_of(full, bands, describe),
            *(directory_of(size, bands, describe_overview) for size in smaller),
        ]
        self._spool = Spool(spool, bands, level, self._pyramid.counts)
        self._thread = BackgroundThread("geoseg-write", _WAITING)

    def write(self, window: Window, pixels: Bytes) -> None:
        """Submit one window; write no pixel twice.

        Args:
            window: The window in the raster.
            pixels: uint8 (bands, rows, columns); must not be changed afterwards.

        Raises:
            OSError: If the disk is full.
        """
        self._thread.submit(self._keep, self._pyramid.add(window, pixels))

    def finish(self, target: Path) -> None:
        """Write the file; pixels that were not written are nodata.

        Raises:
            OSError: If the disk is full.
        """
        self._thread.submit(self._keep, self._pyramid.rest())
        self._thread.flush()
        sizes = self._spool.sizes
        data = sum(int((part + LEADER + TRAILER).sum()) for part in sizes)
        big = len(cog_header(self._directories, sizes, big=False)) + data > CLASSIC_LIMIT
        self._spool.copy(target, cog_header(self._directories, sizes, big=big))
        self.close()

    def close(self) -> None:
        """Stop the thread and remove the spool file."""
        self._thread.close()
        self._spool.close()

    def _keep(self, tiles: Iterator[Tile]) -> None:
        batch: list[Tile] = []
        for tile in tiles:
            batch.append(tile)
            if len(batch) == _BATCH:
                self._spool.add(batch)
                batch = []
        self._spool.add(batch)
