"""Polygons as well-known binary in an Arrow column, put together from arrays without an object a polygon.

Layout: OGC 06-103r4, section 8.2. A polygon is one byte for the order of bytes (1: least first), its type (3)
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
"""An Arrow column of binary values holds no more."""
_HEADER = np.dtype([("order", "u1"), ("type", "<u4"), ("rings", "<u4")])
_LEAST_FIRST, _POLYGON = 1, 3
_POINT = 16


def polygons_as_wkb(
    points: NDArray[np.float64], rings: NDArray[np.int64], polygons: NDArray[np.int64]
) -> pa.Array:
    """Polygons in the encoding that files hold them in.

    Args:
        points: Coordinates, float64 (points, 2), ring after ring.
        rings: Where each ring begins among them, and the end.
        polygons: Where each polygon begins among the rings, and the end.

    Returns:
        Binary values, one a polygon.

    Raises:
        SettingsError: If they are too large for a column.
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
    headers["order"], headers["type"], headers["rings"] = _LEAST_FIRST, _POLYGON, np.diff(polygons)
    # The rings of a polygon follow each other: with fewer ends they are its body, without a copy.
    ends = np.frombuffer(whole.buffers()[1], dtype=np.int32, count=rings.size)
    return _joined(fixed_values(headers), binary_values(ends[polygons], whole.buffers()[2]))


def binary_values(ends: NDArray[np.integer], content: Any) -> pa.Array:
    """Binary values that follow each other, without a copy.

    Args:
        ends: Where each begins, and the end.
        content: The bytes.
    """
    import pyarrow as pa

    buffers = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(content)]
    return pa.Array.from_buffers(pa.binary(), ends.size - 1, buffers)


def fixed_values(items: NDArray[Any]) -> pa.Array:
    """Wrap the bytes of every item as a binary value."""
    return binary_values(items.itemsize * np.arange(items.size + 1), items)


def _joined(first: pa.Array, second: pa.Array) -> pa.Array:
    """Interleave the two values of every row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(first, second, pa.scalar(b"", pa.binary()))
