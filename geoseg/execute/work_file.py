"""Files of unfinished work: arrays and a few plain values, whole or recognised as damaged.

A file is written beside its place and renamed, so a killed process leaves the whole file or none. A system
that goes down may still leave a torn one; so everything in it is covered by a checksum, which is compared
when it is read. Nothing is compressed: the files are read once, soon, if ever.

Layout: magic, length of the head (8 bytes), head (JSON: values, and name, dtype and shape of each array), the
arrays one after the other, CRC-32 of all that (4 bytes); numbers little endian.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import RunError

_MAGIC = b"geoseg work 1\n"
_LENGTH, _CHECK = 8, 4
PART = ".part"
"""Ending of files that are being written."""


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Attributes:
        values: JSON values.
        arrays: Name -> array.
    """

    values: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


def write_work(path: Path, content: Content) -> None:
    """Write a file; it appears whole or not at all.

    Raises:
        RunError: If the disk is full or the folder cannot be written.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in content.arrays.items()}
    described = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    head = json.dumps({"values": content.values, "arrays": described}).encode()
    pieces: list[Any] = [_MAGIC, len(head).to_bytes(_LENGTH, "little"), head]
    pieces += [array.reshape(-1).view(np.uint8).data for array in arrays.values() if array.size]
    try:
        _write(path, pieces)
    except OSError as error:
        raise cannot_write(path, error) from error


def read_work(path: Path) -> Content | None:
    """Read a file; None if there is none, or it is damaged.

    Raises:
        RunError: If it is there and the system cannot read it.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}); --resume tries again") from error
    return _parse(data)


def cannot_write(path: Path, error: OSError) -> RunError:
    """The error that says why a file of the work folder cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(f"{path.parent}: the disk is full; make room, then --resume goes on")
    return RunError(f"{path} cannot be written ({error.strerror or error}); --resume tries again")


def _write(path: Path, pieces: list[Any]) -> None:
    beside = path.with_name(f".{path.name}.{uuid4().hex}{PART}")
    try:
        with beside.open("xb", buffering=0) as file:
            check = 0
            for piece in pieces:
                check = crc32(piece, check)
                _write_all(file, memoryview(piece))
            _write_all(file, memoryview(check.to_bytes(_CHECK, "little")))
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def _write_all(file: Any, data: memoryview) -> None:
    """A file without a buffer may take less than it is given."""
    while data:
        data = data[file.write(data) :]


def _parse(data: NDArray[np.uint8]) -> Content | None:
    start = len(_MAGIC) + _LENGTH
    if data.size < start + _CHECK or data[: len(_MAGIC)].tobytes() != _MAGIC:
        return None
    if crc32(data[:-_CHECK].data) != int.from_bytes(data[-_CHECK:].tobytes(), "little"):
        return None
    end = start + int.from_bytes(data[len(_MAGIC) : start].tobytes(), "little")
    head = json.loads(data[start:end].tobytes())
    arrays = {}
    for name, dtype, shape in head["arrays"]:
        arrays[name] = np.empty(shape, dtype)
        stop = end + arrays[name].nbytes
        if stop > end:  # bytes, because an array in a file may begin anywhere
            arrays[name].reshape(-1).view(np.uint8)[...] = data[end:stop]
        end = stop
    return Content(head["values"], arrays)
