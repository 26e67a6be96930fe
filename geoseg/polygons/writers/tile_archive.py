"""PMTiles, version 3: many small tiles in one file, found by a directory.

Specification: https://github.com/protomaps/PMTiles/blob/main/spec/v3/spec.md
"""

from __future__ import annotations

import gzip
import json
import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.writers.vector_tile import varints

_HEADER = struct.Struct("<7sB11Q6B4iB2i")
_ROOT = 16_384 - _HEADER.size
"""Bytes that the first directory may have."""
_GZIP, _VECTOR_TILES = 2, 1
_LEAF = 4096
"""Tiles of a directory below the first, at least."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What an archive shows.

    Attributes:
        zooms: Lowest and highest zoom level.
        bounds: West, south, east and north, in degrees.
    """

    zooms: tuple[int, int]
    bounds: tuple[float, float, float, float]


def tile_ids(zoom: int, columns: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of tiles: along a Hilbert curve, after all tiles of lower levels.

    Args:
        zoom: Their level.
        columns: From the west.
        rows: From the north.
    """
    x, y = columns.copy(), rows.copy()
    number = np.full(x.size, (4**zoom - 1) // 3, dtype=np.int64)
    for level in range(zoom - 1, -1, -1):
        side = 1 << level
        right, lower = (x & side) > 0, (y & side) > 0
        number += side * side * ((3 * right) ^ lower)
        mirrored = right & ~lower
        x, y = (np.where(mirrored, side - 1 - (side - 1 & axis), axis & (side - 1)) for axis in (x, y))
        x, y = np.where(lower, x, y), np.where(lower, y, x)
    return number


def write_archive(
    path: Path,
    ids: NDArray[np.int64],
    sizes: NDArray[np.int64],
    tiles: IO[bytes],
    extent: Extent,
    metadata: Mapping[str, Any],
) -> None:
    """Write an archive.

    Args:
        path: A file that does not exist yet.
        ids: Number of each tile, ascending; see ``tile_ids``.
        sizes: Its bytes.
        tiles: The tiles after each other, each compressed with gzip.
        extent: What they show.
        metadata: As JSON.
    """
    ends = np.append(0, np.cumsum(sizes))
    root, leaves = _directories(ids, sizes, ends[:-1])
    said = compress(json.dumps(metadata).encode())
    parts = [root, said, leaves]
    places = np.cumsum([_HEADER.size, *map(len, parts)]).tolist()
    sections = [*(n for place, part in zip(places, parts, strict=False) for n in (place, len(part)))]
    west, south, east, north = (round(side * 10**7) for side in extent.bounds)
    low, high = extent.zooms
    header = _HEADER.pack(
        b"PMTiles",
        3,
        *sections,
        places[-1],
        int(ends[-1]),
        *[ids.size] * 3,
        *(1, _GZIP, _GZIP, _VECTOR_TILES, low, high),
        *(west, south, east, north),
        *(low, (west + east) // 2, (south + north) // 2),
    )
    tiles.seek(0)
    with path.open("xb") as file:
        file.write(header + root + said + leaves)
        shutil.copyfileobj(tiles, file, 2**20)


def compress(content: bytes) -> bytes:
    """With gzip, without the time."""
    return gzip.compress(content, compresslevel=5, mtime=0)


def _directories(
    ids: NDArray[np.int64], sizes: NDArray[np.int64], places: NDArray[np.int64]
) -> tuple[bytes, bytes]:
    """The first directory, and those it leads to where it cannot hold all tiles."""
    count = _LEAF
    root, leaves = _directory(ids, sizes, places, 1), b""
    while len(root) > _ROOT:
        parts = [slice(start, start + count) for start in range(0, ids.size, count)]
        found = [_directory(ids[part], sizes[part], places[part], 1) for part in parts]
        lengths = np.array([len(leaf) for leaf in found], dtype=np.int64)
        root = _directory(ids[::count], lengths, np.cumsum(lengths) - lengths, 0)
        leaves, count = b"".join(found), 2 * count
    return root, leaves


def _directory(
    ids: NDArray[np.int64], sizes: NDArray[np.int64], places: NDArray[np.int64], run: int
) -> bytes:
    """Entries that lie after each other; ``run`` is 1 for tiles and 0 for directories."""
    offsets = np.zeros(ids.size, dtype=np.int64)  # 0: after the entry before
    offsets[0] = places[0] + 1
    columns = [np.diff(ids, prepend=0), np.full(ids.size, run), sizes, offsets]
    return compress(varints(np.concatenate([[ids.size], *columns]))[1].tobytes())
