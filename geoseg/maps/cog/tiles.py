"""Compress tiles with GDAL, and keep them in a spool file until the raster is written.

GDAL compresses with libdeflate, up to three times faster than Python's zlib, but only into a file. So tiles
are written side by side into a TIFF in memory, and their compressed bytes are cut out of it. The bytes of a
tile depend on its pixels alone, not on its neighbours in that file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from rasterio.windows import Window as RasterioWindow

from geoseg.classes import NODATA
from geoseg.maps.cog.pyramid import TILE, Bytes, Tile, is_empty
from geoseg.maps.cog.tiff import LEADER, TILE_OFFSETS, TILE_SIZES, TRAILER, Directory, read_directory

_CHUNK = 1 << 22
_SOMEWHERE = Affine(1, 0, 1, 0, -1, 0)  # rasterio warns of files without a transform


def profile(shape: tuple[int, int], bands: int, level: int) -> dict[str, Any]:
    """Return the rasterio profile of a raster of our tiles.

    Args:
        shape: (rows, columns).
        bands: Number of bands.
        level: Level of deflate, 1 to 9.
    """
    return {
        "driver": "GTiff",
        "dtype": "uint8",
        "height": shape[0],
        "width": shape[1],
        "count": bands,
        "tiled": True,
        "blockxsize": TILE,
        "blockysize": TILE,
        "interleave": "pixel",
        "compress": "deflate",
        "zlevel": level,
        "endianness": "little",
    }


def directory_of(shape: tuple[int, int], bands: int, describe: Callable[[Any], None]) -> Directory:
    """Let GDAL write the tags of a raster without pixels, and read them back.

    Args:
        shape: (rows, columns).
        bands: Number of bands.
        describe: Sets georeferencing, palette and so on of the open rasterio dataset.
    """
    with MemoryFile() as memory:
        with memory.open(**profile(shape, bands, 1), sparse_ok=True, bigtiff="no") as dataset:
            describe(dataset)
        found = read_directory(memory.getbuffer())
    return {tag: field for tag, field in found.items() if tag not in (TILE_OFFSETS, TILE_SIZES)}


def compress(tiles: Sequence[Bytes], level: int) -> list[bytes]:
    """Compress tiles.

    Args:
        tiles: uint8 (bands, ``TILE``, ``TILE``) each.
        level: Level of deflate, 1 to 9.
    """
    shape = TILE, TILE * len(tiles)
    with MemoryFile() as memory:
        with memory.open(**profile(shape, len(tiles[0]), level), transform=_SOMEWHERE) as dataset:
            for number, tile in enumerate(tiles):
                dataset.write(tile, window=RasterioWindow(number * TILE, 0, TILE, TILE))
        file = memory.getbuffer()
        directory = read_directory(file)
        places = zip(directory[TILE_OFFSETS].numbers(), directory[TILE_SIZES].numbers(), strict=True)
        return [bytes(file[int(at) : int(at) + int(size)]) for at, size in places]


class Spool:
    """The compressed tiles of all levels in one temporary file, in the order in which they were added.

    Args:
        path: The file, which is created.
        bands: Bands of a tile.
        level: Level of deflate, 1 to 9.
        counts: Number of tiles of each level of the raster.
    """

    def __init__(self, path: Path, bands: int, level: int, counts: Sequence[int]) -> None:
        self._path = path
        self._level = level
        self._file = path.open("w+b")
        self._end = 0
        self.sizes: list[NDArray[np.int64]] = []
        self._starts: list[NDArray[np.int64]] = []
        # All tiles without a valid pixel are equal, so one is stored, also for tiles that are never added.
        size, start = self._append(compress([np.full((bands, TILE, TILE), NODATA, np.uint8)], level)[0])
        for count in counts:
            self.sizes.append(np.full(count, size, np.int64))
            self._starts.append(np.full(count, start, np.int64))

    def add(self, tiles: Sequence[Tile]) -> None:
        """Compress tiles and store them."""
        held = [tile for tile in tiles if not is_empty(tile.pixels)]
        if not held:
            return
        compressed = compress([tile.pixels for tile in held], self._level)
        for tile, data in zip(held, compressed, strict=True):
            sizes, starts = self.sizes[tile.level], self._starts[tile.level]
            sizes[tile.index], starts[tile.index] = self._append(data)

    def copy(self, target: Path, header: bytes) -> None:
        """Write the raster: a header, then the tiles from the last level to the first, in row order."""
        self._file.flush()
        with target.open("wb") as file:
            file.write(header)
            for sizes, starts in zip(reversed(self.sizes), reversed(self._starts), strict=True):
                for start, length in _runs(starts, sizes + LEADER + TRAILER):
                    self._file.seek(start)
                    for done in range(0, length, _CHUNK):
                        file.write(self._file.read(min(_CHUNK, length - done)))

    def close(self) -> None:
        """Remove the file."""
        with suppress(OSError):  # what is not written yet may have no room
            self._file.close()
        self._path.unlink(missing_ok=True)

    def _append(self, data: bytes) -> tuple[int, int]:
        """Store a compressed tile; return its size and the offset of its leader."""
        start = self._end
        self._file.write(len(data).to_bytes(LEADER, "little") + data + data[-TRAILER:])
        self._end += len(data) + LEADER + TRAILER
        return len(data), start


def _runs(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return (start, length) of the ranges to copy in order, adjacent ranges joined."""
    breaks = np.flatnonzero(starts[1:] != starts[:-1] + lengths[:-1]) + 1
    first = np.concatenate([[0], breaks])
    return list(zip(starts[first].tolist(), np.add.reduceat(lengths, first).tolist(), strict=True))
