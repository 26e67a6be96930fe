"""Encode one Mapbox Vector Tile, version 2, from arrays.

Specification: https://github.com/mapbox/vector-tile-spec/tree/master/2.1, in the encoding of protocol buffers
(https://protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.table.wkb import binary_values, fixed_values
from geoseg.raster.ragged import group_starts

if TYPE_CHECKING:
    import pyarrow as pa

TILE_UNITS = 4096
"""Units along the side of a tile (the extent that the specification recommends)."""
_MOVE, _LINE, _CLOSE = 1 << 3 | 1, 2, 1 << 3 | 7
_NAME, _FEATURE, _KEY, _VALUE = b"\x0a", b"\x12", b"\x1a", b"\x22"  # of a layer
_TAGS, _IS_POLYGON, _GEOMETRY = b"\x12", b"\x18\x03", b"\x22"  # of a feature
_LAYER, _VERSION_2 = b"\x1a", b"\x78\x02"


def varints(values: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Encode integers as varints: seven bits per byte, the lowest first.

    Args:
        values: Integers, not negative.

    Returns:
        Offsets of the values in the bytes, (values + 1,); the bytes.
    """
    left = values.astype(np.uint64)
    sizes = np.ones(left.size, dtype=np.int64)
    most = int(left.max(initial=0))
    for bits in range(7, most.bit_length(), 7):
        sizes += left >= np.uint64(1 << bits)
    ends = _ends(sizes)
    written = np.empty(int(ends[-1]), dtype=np.uint8)
    place = ends[:-1]
    while left.size:
        more = left > 127
        written[place] = (left & np.uint64(127)) | (more.astype(np.uint64) << np.uint64(7))
        left, place = left[more] >> np.uint64(7), place[more] + 1
    return ends, written


def encode_shapes(
    points: NDArray[np.int64], rings: NDArray[np.int64], shapes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Encode polygons as drawing commands.

    Args:
        points: Column and row in tile units, (points, 2), ring after ring; rings are not closed.
        rings: Offsets of the rings; each has at least three points.
        shapes: Offsets of the polygons among the rings; exteriors run clockwise on screen.

    Returns:
        Offsets of the polygons in the bytes, (polygons + 1,); the bytes.
    """
    sizes, first = np.diff(rings), rings[:-1]
    steps = np.diff(points, axis=0, prepend=0)
    pens = first[shapes[:-1]]  # the first point of a polygon is relative to the tile's corner
    steps[pens] = points[pens]
    steps = (steps << 1) ^ (steps >> 63)
    lengths = 2 * sizes + 3
    begin = group_starts(lengths)
    commands = np.empty(int(lengths.sum()), dtype=np.int64)
    commands[begin] = _MOVE
    commands[begin + 3] = (sizes - 1) << 3 | _LINE
    commands[begin + lengths - 1] = _CLOSE
    place = 2 * np.arange(len(points)) + np.repeat(begin + 2 - 2 * first, sizes)
    place[first] -= 1
    commands[place], commands[place + 1] = steps[:, 0], steps[:, 1]
    ends, written = varints(commands)
    return ends[np.append(begin, commands.size)[shapes]], written


def encode_tile(layer: str, columns: pa.Table, shapes: pa.Array) -> bytes:
    """Encode a tile with one layer.

    Args:
        layer: Name of the layer.
        columns: Attributes, one row per polygon; nulls are left out.
        shapes: The geometries, encoded by ``encode_shapes``.
    """
    tags, values = _tags(columns)
    features = _joined(_message(_TAGS, tags), _IS_POLYGON, _message(_GEOMETRY, shapes))
    content = [_field(_NAME, layer.encode()), _bytes(_message(_FEATURE, features))]
    content += [_field(_KEY, key.encode()) for key in columns.column_names]
    content += [*values, b"\x28" + _varint(TILE_UNITS), _VERSION_2]
    return _field(_LAYER, b"".join(content))


def _tags(columns: pa.Table) -> tuple[pa.Array, list[bytes]]:
    """Return the key and value numbers of every row, and the encoded values, each once per column."""
    pairs = np.zeros((columns.num_rows, columns.num_columns, 2), dtype=np.int64)
    known = np.zeros(pairs.shape, dtype=bool)
    values, before = [], 0
    for number, column in enumerate(columns.columns):
        found = column.combine_chunks().dictionary_encode()
        index = found.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        pairs[:, number, 0], pairs[:, number, 1] = number, index + before
        known[:, number] = (index >= 0)[:, None]
        values.append(_bytes(_message(_VALUE, _values(found.dictionary))))
        before += len(found.dictionary)
    ends, written = varints(pairs[known])
    return binary_values(ends[_ends(known.sum(axis=(1, 2)))], written), values


def _values(column: pa.Array) -> pa.Array:
    """Encode values as messages."""
    import pyarrow as pa

    if pa.types.is_string(column.type):
        return _message(b"\x0a", column.cast(pa.binary()))
    numbers = column.to_numpy(zero_copy_only=False)
    if pa.types.is_floating(column.type):
        return _joined(b"\x19", fixed_values(numbers.astype("<f8")))
    if pa.types.is_boolean(column.type):
        return _joined(b"\x38", binary_values(*varints(numbers.astype(np.int64))))
    numbers = numbers.astype(np.int64)
    return _joined(b"\x30", binary_values(*varints((numbers << 1) ^ (numbers >> 63))))


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


def _field(key: bytes, content: bytes) -> bytes:
    return key + _varint(len(content)) + content


def _message(key: bytes, content: pa.Array) -> pa.Array:
    """Encode every value as a length-delimited field."""
    import pyarrow.compute as pc

    return _joined(key, binary_values(*varints(pc.binary_length(content).to_numpy())), content)


def _joined(*parts: pa.Array | bytes) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = tuple(pa.scalar(part, pa.binary()) if isinstance(part, bytes) else part for part in parts)
    return pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.binary()))


def _bytes(values: pa.Array) -> bytes:
    """Return the bytes of all values, one after the other."""
    ends = np.frombuffer(values.buffers()[1], dtype=np.int32, count=len(values) + 1)
    return bytes(values.buffers()[2].slice(0, int(ends[-1])))


def _ends(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.append(0, np.cumsum(sizes))
