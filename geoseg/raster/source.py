"""GDAL datasets as values: a ``Source`` can be pickled, and is opened once per thread.

A GDAL handle may be used by one thread at a time and does not survive a fork, so a scene holds none.
``borrow`` lends the calling thread's own handle, which is opened on first use.
"""

from __future__ import annotations

import os
import re
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT

# A VRT may hold Python code: it never runs, whatever the environment or a configuration file says.
os.environ["GDAL_VRT_ENABLE_PYTHON"] = "NO"
# Nor does a VRT read the bytes of a file that is no raster, but one beside it.
os.environ.setdefault("GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE", "SIBLING_OR_CHILD_OF_VRT_PATH")

GDAL_ERRORS = (RasterioError, CPLE_BaseError)
"""Exceptions of rasterio when GDAL fails; some calls let GDAL's own errors through."""

_MOST_OPEN = 64
"""Handles that a thread keeps open; the least recently used one is closed first."""


@dataclass(frozen=True, slots=True)
class Warp:
    """How a dataset is resampled on reading: by nearest neighbour, which creates no new values.

    The transformer is exact. GDAL's default approximates it along each requested window, so the pixels of a
    window would depend on how the scene is cut into windows.

    Attributes:
        crs: Coordinate reference system of the result, as WKT.
        transform: Affine of the result as its six coefficients; None if GDAL chooses it, north up.
        shape: (rows, columns) of the result, or None.
        nodata: Stored value that means nodata although the source does not declare it.
    """

    crs: str
    transform: tuple[float, ...] | None = None
    shape: tuple[int, int] | None = None
    nodata: float | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A dataset that can be opened again in any thread and process.

    Attributes:
        path: What GDAL opens: a path, URL, ``/vsi`` name or connection string.
        warp: How it is warped, or None to read it as it is.
    """

    path: str
    warp: Warp | None = None

    def open(self) -> Any:
        """Open a new rasterio dataset; the caller closes it.

        Raises:
            GDAL_ERRORS: If GDAL cannot open it.
        """
        if not self.path.isascii() and any("\ud800" <= letter <= "\udfff" for letter in self.path):
            raise RasterioError("its name is not UTF-8, which GDAL needs; rename it")
        with _of_process().opening, warnings.catch_warnings(), rasterio.Env(**_options(self.path)):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            try:
                dataset = rasterio.open(self.path, sharing=False)
            except UnicodeDecodeError as error:  # GDAL's reason holds bytes of the file
                raise RasterioIOError(error.object.decode(errors="replace")) from error
            try:
                _refuse_local_files(self.path, dataset)
                if self.warp is None:
                    return dataset
                return _warped(dataset, self.warp)
            except BaseException:
                dataset.close()
                raise


def _refuse_local_files(path: str, dataset: Any) -> None:
    """Refuse a dataset on a server that would read files of this machine; its author does not own them.

    Raises:
        RasterioError: Naming the first of them.
    """
    if not is_remote(path) or _CONNECTION.match(path) or dataset.driver not in _NAMING_OTHERS:
        return
    if dataset.driver != "VRT":
        raise RasterioError(f"{dataset.driver} files are not read from a server; download it first")
    for name in dataset.files:
        if not is_remote(name):
            raise RasterioError(f"it names the file {name} of this machine; download it first")
        if name != path and not name.endswith(path):
            with rasterio.open(name, sharing=False) as part:
                _refuse_local_files(name, part)


_NAMING_OTHERS = ("GTI", "VRT", "WCS", "WMS", "WMTS", "STACIT", "STACTA", "ZARR_KERCHUNK", "DERIVED")
"""Drivers of files that say which other files are read."""
_CONNECTION = re.compile(r"[A-Za-z][A-Za-z0-9_]+:(?!//)")
"""What the user wrote, not a server."""


def _options(path: str) -> dict[str, str]:
    """Choose GDAL options: on a server, look for sidecars by name instead of listing the folder."""
    if not is_remote(path) or "GDAL_DISABLE_READDIR_ON_OPEN" in os.environ:
        return {}
    return {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE", "GDAL_HTTP_MAX_RETRY": "3", "GDAL_HTTP_RETRY_DELAY": "1"}


_LOCAL_SCHEMES = ("file://", "zip://", "tar://", "gzip://")
_REMOTE_NAMES = ("/vsicurl", "/vsis3", "/vsigs", "/vsiaz", "/vsiadls", "/vsioss", "/vsiswift", "/vsiwebhdfs")


def is_remote(path: str) -> bool:
    """Tell whether a path leads over the network."""
    return path.startswith(_REMOTE_NAMES) or ("://" in path and not path.startswith(_LOCAL_SCHEMES))


def file_name(path: str) -> str:
    """Return the last part of a path or address."""
    if is_remote(path):
        path = path.split("?", 1)[0]  # the query of a URL; in a local file name "?" is an ordinary character
    return PurePosixPath(path.replace("\\", "/")).name


_SMALLEST_TOLERANCE = 1e-11
"""Tolerance in source pixels. For 0 and a given grid, rasterio 1.4 makes no transformer at all; GDAL moves
points by 1e-10 before it picks the nearest pixel, so a smaller tolerance makes no difference."""


def _warped(dataset: Any, warp: Warp) -> Any:
    has_alpha = any(interpretation.name == "alpha" for interpretation in dataset.colorinterp)
    options: dict[str, Any] = {
        "crs": rasterio.CRS.from_wkt(warp.crs),
        "resampling": Resampling.nearest,
        "tolerance": 0,
        "add_alpha": not has_alpha,
    }
    if warp.transform is not None and warp.shape is not None:
        options |= {"transform": Affine(*warp.transform), "height": warp.shape[0], "width": warp.shape[1]}
        options["tolerance"] = _SMALLEST_TOLERANCE
    if warp.nodata is not None:
        options["src_nodata"] = warp.nodata
    return WarpedVRT(dataset, **options)


class _Handle:
    """An open dataset, with a lock that keeps it open while it is read."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.lock = threading.RLock()
        self.dataset = source.open()

    def close(self) -> None:
        with self.lock:
            below = getattr(self.dataset, "src_dataset", None)
            self.dataset.close()
            if below is not None:
                below.close()


class _Handles:
    """All handles of one process: each thread has its own, and all can be closed together.

    Datasets are opened one at a time, because that changes Python's warning filters, which all threads share.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.opening = threading.Lock()
        self._lock = threading.Lock()
        self._local = threading.local()
        self._open: weakref.WeakSet[_Handle] = weakref.WeakSet()

    def of_thread(self, source: Source) -> _Handle:
        mine: OrderedDict[Source, _Handle] | None = getattr(self._local, "handles", None)
        if mine is None:
            mine = self._local.handles = OrderedDict()
        handle = mine.get(source)
        if handle is None or handle.dataset.closed:
            handle = mine[source] = _Handle(source)
            with self._lock:
                self._open.add(handle)
        mine.move_to_end(source)
        while len(mine) > _MOST_OPEN:
            mine.popitem(last=False)[1].close()
        return handle

    def close(self, sources: set[Source]) -> None:
        with self._lock:
            ours = [handle for handle in self._open if handle.source in sources]
        for handle in ours:
            handle.close()


_handles = _Handles()
_inherited: list[_Handles] = []


def _of_process() -> _Handles:
    """Return this process's handles; after a fork, leave the parent's alone, because they share its files."""
    global _handles  # noqa: PLW0603 -- one registry a process is the point
    if _handles.pid != os.getpid():
        _inherited.append(_handles)
        _handles = _Handles()
    return _handles


@contextmanager
def borrow(source: Source) -> Iterator[Any]:
    """Lend the calling thread's open dataset of a source; it is kept open for the next use.

    Yields:
        A rasterio dataset (or ``WarpedVRT``), which stays open inside the context.
    """
    while True:
        handle = _of_process().of_thread(source)
        with handle.lock:
            if not handle.dataset.closed:
                yield handle.dataset
                return


def close(sources: set[Source]) -> None:
    """Close the handles of these sources in all threads of this process; the next use opens them again."""
    _of_process().close(sources)
