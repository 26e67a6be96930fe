"""Make a Cloud Optimized GeoTIFF while its pixels come: tiles are compressed as soon as they are complete.

When the last pixel has come, all that is left to do is to make the header and to copy compressed tiles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from geoseg.grid import Window
from geoseg.maps.cog.pyramid import Bytes, Halve, Pyramid, Tile
from geoseg.maps.cog.tiff import LEADER, TRAILER, cog_header
from geoseg.maps.cog.tiles import Spool, directory_of

CLASSIC_LIMIT = 2**32
"""Bytes from which on a file must be a BigTIFF."""
_WAITING = 2
"""Windows that may wait for the thread that compresses."""
_BATCH = 16
"""Tiles that are compressed at once."""


class StreamedCog:
    """Compress one raster in a thread of its own while it is written.

    The bytes of the file depend on the pixels and the description alone. Errors of the thread are raised by
    the next call.

    Args:
        shape: (rows, columns).
        bands: Its bands.
        halve: Makes overviews.
        level: Of deflate, 1 to 9.
        spool: Where compressed tiles wait; a file that is gone when this is closed.
        describe: Sets georeferencing, nodata, palette, tags of an open rasterio dataset.
        describe_overview: Sets what overviews have of these.
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
        self._thread = ThreadPoolExecutor(1, "geoseg-write")
        self._waiting: deque[Future[None]] = deque()

    def write(self, window: Window, pixels: Bytes) -> None:
        """Hand over one window; no pixel may come twice.

        Args:
            window: Its place in the raster.
            pixels: uint8 (bands, rows, columns), not to be changed afterwards.

        Raises:
            OSError: If the disk is full.
        """
        while len(self._waiting) >= _WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._keep, self._pyramid.add(window, pixels)))

    def finish(self, target: Path) -> None:
        """Write the file; pixels that never came are nodata.

        Raises:
            OSError: If the disk is full.
        """
        self._waiting.append(self._thread.submit(self._keep, self._pyramid.rest()))
        while self._waiting:
            self._waiting.popleft().result()
        sizes = self._spool.sizes
        data = sum(int((part + LEADER + TRAILER).sum()) for part in sizes)
        big = len(cog_header(self._directories, sizes, big=False)) + data > CLASSIC_LIMIT
        self._spool.copy(target, cog_header(self._directories, sizes, big=big))
        self.close()

    def close(self) -> None:
        """Give up: end the thread and remove what waits."""
        self._thread.shutdown(cancel_futures=True)
        self._spool.close()

    def _keep(self, tiles: Iterator[Tile]) -> None:
        batch: list[Tile] = []
        for tile in tiles:
            batch.append(tile)
            if len(batch) == _BATCH:
                self._spool.add(batch)
                batch = []
        self._spool.add(batch)
