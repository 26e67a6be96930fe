"""Encode polygons as well-known binary in an Arrow column, from arrays, without one object per polygon.

Layout: OGC 06-103r4, section 8.2. A polygon is one byte for the byte order (1: little endian), its type (3)
and the number of its rings; a ring is the number of its points and their coordinates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SettingsError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_BYTES = 2**31 - 1
"""Most bytes that an Arrow column of binary values can hold."""
_HEADER = np.dtype([("order", "u1"), ("type", "<u4"), ("rings", "<u4")])
_LITTLE_ENDIAN, _POLYGON = 1, 3
_POINT = 16


def polygons_as_wkb(
    points: NDArray[np.float64], rings: NDArray[np.int64], polygons: NDArray[np.int64]
) -> pa.Array:
    """Encode polygons as well-known binary.

    Args:
        points: Coordinates, float64 (points, 2), ring after ring.
        rings: Offsets of the rings among the points, int64 (rings + 1,).
        polygons: Offsets of the polygons among the rings, int64 (polygons + 1,).

    Returns:
        One binary value per polygon.

    Raises:
        SettingsError: If they do not fit into one column.
    """
    needed = _POINT * len(points) + 4 * (rings.size - 1) + _HEADER.itemsize * (polygons.size - 1)
    if needed > MAX_BYTES:
        raise SettingsError(
            f"a polygon of this map has {len(points):,} vertices, and a row of a file holds at most "
            f"{MAX_BYTES // _POINT:,}; clean the map up first (--sieve, --smooth)"
        )
    counts = fixed_values(np.diff(rings).astype("<u4"))
    coordinates = binary_values(_POINT * rings, np.ascontiguousarray(points, dtype="<f8"))
    whole = _joined(counts, coordinates)
    headers = np.empty(polygons.size - 1, dtype=_HEADER)
    headers["order"], headers["type"], headers["rings"] = _LITTLE_ENDIAN, _POLYGON, np.diff(polygons)
    # The rings of a polygon are adjacent, so their bytes become its body without a copy: drop the inner
    # offsets.
    ends = np.frombuffer(whole.buffers()[1], dtype=np.int32, count=rings.size)
    return _joined(fixed_values(headers), binary_values(ends[polygons], whole.buffers()[2]))


def binary_values(ends: NDArray[np.integer], content: Any) -> pa.Array:
    """Wrap adjacent byte strings as Arrow binary values, without a copy.

    Args:
        ends: Offsets of the values, (values + 1,).
        content: All bytes.
    """
    import pyarrow as pa

    buffers = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(content)]
    return pa.Array.from_buffers(pa.binary(), ends.size - 1, buffers)


def fixed_values(items: NDArray[Any]) -> pa.Array:
    """Wrap the bytes of every item as a binary value."""
    return binary_values(items.itemsize * np.arange(items.size + 1), items)


def _joined(first: pa.Array, second: pa.Array) -> pa.Array:
    """Concatenate the two values of every row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(first, second, pa.scalar(b"", pa.binary()))
