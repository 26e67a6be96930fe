"""Tell whether files are those that unfinished work was begun with: by what they hold, not by their times.

A program that only looks at a file may touch it: a GeoPackage that QGIS opened has another time and other
bytes, though the same rows.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import Request, urlopen

from geoseg.raster.source import GDAL_ERRORS, Source, file_name, is_remote
from geoseg.scene.vector import is_vector, list_layers, read_rows, vector_errors

_MOST_READ = 2**28
"""Bytes of rasters that are read, the smallest first; of larger ones size and time are compared."""
_CHUNK = 2**22
_SHORT = 16
_PATIENCE = 10.0  # seconds
_SQLITE = b"SQLite format 3\0"
_RASTERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\0\0\0\x0cjP  ")
"""How TIFF, BigTIFF and JPEG 2000 begin. They hold no rows, and what reads rows takes a second to load."""
_COUNTERS = (slice(18, 20), slice(24, 28), slice(92, 100))
"""Bytes of SQLite's header that change with its journal, not with its content."""
_BESIDE = (".aux.xml", ".ovr")
"""Files beside a raster that change no pixel; QGIS and GDAL write them when they look at one."""


def file_states(paths: Iterable[str]) -> dict[str, str]:
    """Describe files by name: by rows, by bytes, or by what a server calls their version; folders may move.

    Args:
        paths: Rasters, with all files that GDAL reads of them, and vector files. What cannot be read is left
            out: whoever opens it says why.
    """
    files = dict.fromkeys(file for path in dict.fromkeys(paths) for file in files_of(path))
    sizes = {file: os.path.getsize(file) for file in files if os.path.isfile(file)}
    states: dict[str, str] = {}
    read = 0
    for file in sorted(files, key=lambda name: (sizes.get(name, 0), name)):
        read += sizes.get(file, 0)
        try:
            state = _state_of(file, is_read=read <= _MOST_READ)
        except OSError:
            continue
        name, number = file_name(file), 1
        while name in states:
            number += 1
            name = f"{file_name(file)} ({number})"
        states[name] = state
    return states


def files_of(path: str) -> Iterator[str]:
    """Yield the files that are read where a path is: itself, what is in the folder, what a VRT is made of."""
    if os.path.isdir(path):
        yield from sorted(str(inside) for inside in Path(path).rglob("*") if inside.is_file())
        return
    try:
        with Source(path).open() as dataset:
            found = [path] if is_remote(path) else dataset.files
    except (*GDAL_ERRORS, OSError, ValueError, TypeError):  # a vector file, or what is refused later
        found = [path] if os.path.isfile(path) else []
    for name in found:
        if name != path and name.lower().endswith(".vrt"):
            yield from files_of(name)
        elif not name.lower().endswith(_BESIDE):
            yield name


def _state_of(file: str, *, is_read: bool) -> str:
    if not os.path.isfile(file):
        return f"version {_version(file)}"
    if not _is_surely_raster(file) and is_vector(file):
        with suppress(*vector_errors()):  # whoever opens it says why
            return f"rows {_rows(file)}"
    status = os.stat(file)
    if is_read:
        return f"{status.st_size} bytes {_content(file)}"
    return f"{status.st_size} bytes of {status.st_mtime_ns}"


def _is_surely_raster(file: str) -> bool:
    with open(file, "rb") as stream:
        return stream.read(max(map(len, _RASTERS))).startswith(_RASTERS)


def _rows(file: str) -> str:
    """Hash a vector file's rows in order: attributes and geometries; errors as ``vector_errors``."""
    digest = hashlib.sha256()
    for name, kind in list_layers(file):
        if kind == "None":  # styles and the like
            continue
        attributes, shapes, crs = read_rows(file, name)
        digest.update(repr((name, list(attributes.columns), crs and crs.to_wkt())).encode())
        digest.update(attributes.to_csv(index=False).encode(errors="surrogateescape"))
        for shape in shapes:
            digest.update(b"-" if shape is None else shape)
    return digest.hexdigest()[:_SHORT]


def _content(file: str) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        start = bytearray(stream.read(100))
        if start.startswith(_SQLITE):
            for counter in _COUNTERS:
                start[counter] = bytes(counter.stop - counter.start)
        digest.update(start)
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()[:_SHORT]


def _version(address: str) -> str:
    """Ask a server for the version of a file: its ETag, or when it changed; ``-`` where it does not say."""
    if address.startswith("/vsicurl?"):
        address = parse_qs(address.partition("?")[2]).get("url", [""])[0]
    parts = urlsplit(address.removeprefix("/vsicurl/"))
    if parts.scheme not in ("http", "https"):
        return "-"
    user, _, host = parts.netloc.rpartition("@")
    request = Request(parts._replace(netloc=host).geturl(), method="HEAD")
    if user:
        request.add_header("Authorization", f"Basic {b64encode(unquote(user).encode()).decode()}")
    try:
        with urlopen(request, timeout=_PATIENCE) as answer:
            return answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "-"
    except (OSError, ValueError, HTTPException):
        return "-"
