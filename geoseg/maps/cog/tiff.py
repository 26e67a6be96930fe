"""Read the TIFF directories that GDAL wrote, and write them with other tile offsets, in the order of a COG.

GDAL decides the content of all tags (georeferencing, palette, nodata, metadata); their bytes are copied. A
Cloud Optimized GeoTIFF differs by its order: first all directories, then the tiles of the smallest overview,
and so on to those of the full resolution.

Layout of files: TIFF 6.0, https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf; BigTIFF,
https://libtiff.gitlab.io/libtiff/specification/bigtiff.html; what GDAL expects of a COG (the text after the
header, four bytes before and after each tile), https://gdal.org/en/stable/drivers/raster/cog.html.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SUBFILE, TILE_OFFSETS, TILE_SIZES = 254, 324, 325
LEADER = TRAILER = 4
"""Bytes before a tile (its size) and after it (its last four bytes again)."""

_SHORT, _LONG, _LONG8 = 3, 4, 16
_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_NUMBERS = {_SHORT: "<u2", _LONG: "<u4", _LONG8: "<u8"}
_STRUCTURE = (
    b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
)


@dataclass(frozen=True, slots=True)
class Field:
    """The value of a tag.

    Attributes:
        kind: TIFF's number of its data type.
        count: Number of values.
        data: The values, little endian.
    """

    kind: int
    count: int
    data: bytes

    def numbers(self) -> NDArray[np.uint64]:
        """Return the values of a tag of unsigned integers."""
        return np.frombuffer(self.data, _NUMBERS[self.kind]).astype(np.uint64)


Directory = dict[int, Field]
"""Tag to value."""


@dataclass(frozen=True)
class _Form:
    """The differences of classic TIFF and BigTIFF: struct codes of counts and offsets."""

    magic: bytes
    n_entries: str
    number: str
    offset_kind: int

    @property
    def word(self) -> int:
        return struct.calcsize(self.number)


_CLASSIC = _Form(struct.pack("<2sH", b"II", 42), "<H", "<I", _LONG)
_BIG = _Form(struct.pack("<2sHHH", b"II", 43, 8, 0), "<Q", "<Q", _LONG8)


def read_directory(file: memoryview) -> Directory:
    """Read the first directory of a little-endian TIFF in memory."""
    form = _BIG if file[2] == 43 else _CLASSIC
    (at,) = struct.unpack_from(form.number, file, len(form.magic))
    (count,) = struct.unpack_from(form.n_entries, file, at)
    at += struct.calcsize(form.n_entries)
    found: Directory = {}
    for place in range(at, at + count * (4 + 2 * form.word), 4 + 2 * form.word):
        tag, kind = struct.unpack_from("<HH", file, place)
        (values,) = struct.unpack_from(form.number, file, place + 4)
        size, start = values * _BYTES[kind], place + 4 + form.word
        if size > form.word:
            (start,) = struct.unpack_from(form.number, file, start)
        found[tag] = Field(kind, values, bytes(file[start : start + size]))
    return found


def cog_header(directories: Sequence[Directory], sizes: Sequence[NDArray[np.int64]], *, big: bool) -> bytes:
    """Build the part of a COG before its tiles.

    The tiles must follow from the last directory's to the first one's, in row order, each between its leader
    and its trailer of four bytes.

    Args:
        directories: The full resolution's, then the overviews' from large to small.
        sizes: Bytes of the compressed tiles of each.
        big: Whether to write a BigTIFF.
    """
    nowhere = [np.zeros(len(part), np.int64) for part in sizes]
    start = len(_header(directories, sizes, nowhere, _BIG if big else _CLASSIC))
    offsets: list[NDArray[np.int64]] = []
    for part in reversed(sizes):
        slots = part + LEADER + TRAILER
        ends = start + np.cumsum(slots)
        offsets.insert(0, ends - slots + LEADER)
        start = int(ends[-1])
    return _header(directories, sizes, offsets, _BIG if big else _CLASSIC)


def _header(
    directories: Sequence[Directory],
    sizes: Sequence[NDArray[np.int64]],
    offsets: Sequence[NDArray[np.int64]],
    form: _Form,
) -> bytes:
    text = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n" % len(_STRUCTURE) + _STRUCTURE
    first = _even(len(form.magic) + form.word + len(text))
    parts = [(form.magic + struct.pack(form.number, first) + text).ljust(first, b"\0")]
    at = first
    for number, directory in enumerate(directories):
        fields = directory | {
            TILE_OFFSETS: _numbers(offsets[number], form.offset_kind),
            TILE_SIZES: _numbers(sizes[number], _LONG),
        }
        if number:
            fields[SUBFILE] = _numbers(np.ones(1, np.int64), _LONG)
        parts.append(_directory(fields, at, form, last=number == len(directories) - 1))
        at += len(parts[-1])
    return b"".join(parts)


def _directory(fields: Directory, at: int, form: _Form, *, last: bool) -> bytes:
    """Build a directory at an offset of the file, followed by the values that do not fit into its entries."""
    length = struct.calcsize(form.n_entries) + len(fields) * (4 + 2 * form.word) + form.word
    entries, values = [struct.pack(form.n_entries, len(fields))], b""
    for tag in sorted(fields):
        field = fields[tag]
        entry = struct.pack("<HH", tag, field.kind) + struct.pack(form.number, field.count)
        if len(field.data) <= form.word:
            entries.append(entry + field.data.ljust(form.word, b"\0"))
        else:
            entries.append(entry + struct.pack(form.number, at + length + len(values)))
            values += field.data.ljust(_even(len(field.data)), b"\0")
    following = 0 if last else at + length + len(values)
    return b"".join(entries) + struct.pack(form.number, following) + values


def _numbers(values: NDArray[np.int64], kind: int) -> Field:
    return Field(kind, len(values), values.astype(_NUMBERS[kind]).tobytes())


def _even(size: int) -> int:
    return size + size % 2
