"""Read the header of a file, or say in one line why it cannot be a scene."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rasterio.enums import MaskFlags

from geoseg.errors import SceneError
from geoseg.files import look_at
from geoseg.raster.alpha import find_bands_marked_alpha
from geoseg.raster.georeference import Georeference
from geoseg.raster.source import GDAL_ERRORS, Source, is_remote
from geoseg.raster.texts import read_descriptions
from geoseg.scene.band_names import is_generic
from geoseg.scene.file import SceneFile, is_about_codec, reason, split_dataset_name

_VECTOR_SUFFIXES = (
    ".shp", ".geojson", ".gpkg", ".fgb", ".kml", ".kmz", ".gml", ".gpx", ".parquet", ".geoparquet", ".dxf",
    ".gdb", ".csv", ".shx", ".dbf", ".topojson",
)  # fmt: skip
_UNDECODABLE = re.compile("[\udc80-\udcff]")
_CONNECTION = re.compile(r"[A-Za-z][A-Za-z0-9_+]+:")


@dataclass(frozen=True)
class FileHeader:
    """The header of one file.

    Attributes:
        path: Its path, as given.
        file: The file as part of a scene.
        georeference: Its georeferencing.
        dtypes: Data type of each band, alpha bands included.
        descriptions: Description of each band, or None.
        colours: GDAL colour interpretation of each band.
        nodata: Declared nodata of each band.
        scales: Scale tag of each band.
        offsets: Offset tag of each band.
        block_shape: (rows, columns) of the file's own blocks.
        tags: Its metadata: the default domain and IMAGERY.
        not_alpha: 1-based numbers of bands that are marked as alpha, and hold measurements.
    """

    path: str
    file: SceneFile
    georeference: Georeference
    dtypes: tuple[str, ...]
    descriptions: tuple[str | None, ...]
    colours: tuple[str, ...]
    nodata: tuple[float | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    block_shape: tuple[int, int]
    tags: Mapping[str, str]
    not_alpha: frozenset[int] = frozenset()

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.file.window.shape

    def is_alpha(self, index: int) -> bool:
        """Tell whether the band with this 1-based number is an alpha band."""
        return self.colours[index - 1] == "alpha"

    def with_bands(self, numbers: frozenset[int]) -> FileHeader:
        """Take these bands for ordinary ones, although they are marked as alpha."""
        colours = tuple("undefined" if i in numbers else name for i, name in enumerate(self.colours, 1))
        alpha = None if self.file.alpha in numbers else self.file.alpha
        return replace(self, colours=colours, not_alpha=numbers, file=replace(self.file, alpha=alpha))


def probe(path: str) -> FileHeader:
    """Open a file and read only its header.

    Raises:
        SceneError: If it is missing, unreadable, no raster, or has no usable pixels.
    """
    source = Source(path)
    try:
        dataset = source.open()
    except (*GDAL_ERRORS, OSError, ValueError, TypeError) as error:
        raise SceneError(why_not(path, error)) from error
    with dataset:
        _check(path, dataset)
        try:
            return _header(path, source, dataset)
        except GDAL_ERRORS as error:  # of a tag that GDAL first reads when it is asked for
            raise SceneError(why_not(path, error)) from error


def _header(path: str, source: Source, dataset: Any) -> FileHeader:
    return FileHeader(
        path=path,
        file=SceneFile.of(source, dataset),
        not_alpha=find_bands_marked_alpha(dataset),
        georeference=Georeference.of(dataset),
        dtypes=tuple(dataset.dtypes),
        descriptions=_descriptions(path, dataset),
        colours=tuple(colour.name for colour in dataset.colorinterp),
        nodata=_nodata(dataset),
        scales=tuple(dataset.scales),
        offsets=tuple(dataset.offsets),
        block_shape=dataset.block_shapes[0],
        tags={**dataset.tags(), **dataset.tags(ns="IMAGERY")},
    )


def _nodata(dataset: Any) -> tuple[float | None, ...]:
    """Read the nodata value of each band.

    rasterio gives none for the largest numbers of 64 bits, whose nearest float the type cannot hold.
    """
    return tuple(
        float(np.iinfo(dtype).max)
        if value is None and MaskFlags.nodata in flags and np.dtype(dtype).kind in "iu"
        else value
        for value, dtype, flags in zip(
            dataset.nodatavals, dataset.dtypes, dataset.mask_flag_enums, strict=True
        )
    )


def _descriptions(path: str, dataset: Any) -> tuple[str | None, ...]:
    """Read what the bands are called; the only band of a variable is called as the variable."""
    found = read_descriptions(dataset)
    if found != (None,):
        return found
    inside = split_dataset_name(path)
    variable = dataset.tags(1).get("NETCDF_VARNAME") or (inside[1] if inside else None)
    return (None if is_generic(variable) else variable,)


def _check(path: str, dataset: Any) -> None:
    """Refuse a dataset without bands or pixels, or with complex numbers."""
    if dataset.count == 0:
        inside = dataset.subdatasets
        if inside:
            raise SceneError(
                f"{path}: holds {len(inside)} datasets; name the one to use, or several that are one scene, "
                f"for instance '{inside[0]}'"
            )
        raise SceneError(f"{path}: has no bands; name a raster file with at least one")
    if min(dataset.shape) < 1:
        raise SceneError(f"{path}: has no pixels ({dataset.height} rows x {dataset.width} columns)")
    if any(dtype.startswith("complex") for dtype in dataset.dtypes):
        raise SceneError(
            f"{path}: holds complex numbers ({dataset.dtypes[0]}), as radar products do; convert them to "
            "amplitude or backscatter first"
        )


def why_not(path: str, error: BaseException) -> str:
    """Explain in one line why a path cannot be opened as a raster, and what to do."""
    if is_remote(path):
        return f"{path}: cannot be opened ({reason(error)}); check the address and the access rights"
    if path.startswith(("/vsi", "<")) or _CONNECTION.match(path):
        return f"{path}: cannot be opened ({reason(error)})"
    look_at(path)  # says itself why it cannot
    fault = None if is_about_codec(error) else _local_fault(path, reason(error))
    return f"{path}: {fault or f'is not a raster that GDAL can read ({reason(error)})'}"


def _local_fault(path: str, said: str) -> str | None:
    """Explain what is wrong with a local file, of which GDAL ``said`` something; None if only GDAL knows."""
    faults = (
        (_UNDECODABLE.search(path) is not None, "has a name that is not in UTF-8; rename it"),
        (not os.path.lexists(path), f"there is no such file{_did_you_mean(path)}"),
        (os.path.isdir(path), "is a folder; name the raster file (or files, one a band) in it"),
        (not os.path.exists(path), "is a link to a file that does not exist; check the path"),
        (not _may_be_read(path), "may not be read; change its permissions"),
        (os.path.isfile(path) and not os.path.getsize(path), "is empty (0 bytes); copy or download it again"),
        (path.lower().endswith(_VECTOR_SUFFIXES), "is a vector file or a table; name a raster"),
    )
    return next((text for applies, text in faults if applies), None) or _by_first_bytes(path, said)


def _may_be_read(path: str) -> bool:
    """Try it: ``os.access`` knows neither the rights of this thread nor a server that refuses them."""
    try:
        with open(path, "rb"):
            return True
    except PermissionError:
        return False
    except OSError:  # a folder, or not there
        return True


def _by_first_bytes(path: str, said: str) -> str | None:
    """Recognise a file that is no raster by its first bytes."""
    with open(path, "rb") as file:
        start = file.read(256).lstrip().lower()
    if start.startswith((b"ii*\0", b"mm\0*", b"ii+\0", b"mm\0+")):
        return f"is a damaged or incomplete TIFF ({said}); copy or download it again"
    if start.startswith((b"<!doctype html", b"<html")):
        return "is a web page, not a raster: the download went wrong, fetch it again"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the raster itself; run 'git lfs pull'"
    if start.startswith(b"pk\x03\x04"):
        return f"is a zip archive; unpack it, or name the raster in it as /vsizip/{path}/FILE"
    if start.startswith((b'{"type"', b'{ "type"', b"{\n")):
        return "is a JSON or GeoJSON file; name a raster"
    return None


def _did_you_mean(path: str) -> str:
    folder, name = os.path.split(path)
    try:
        near = difflib.get_close_matches(name, os.listdir(folder or "."), n=1, cutoff=0.8)
    except OSError:
        return ""
    return f"; did you mean {os.path.join(folder, near[0])}?" if near else "; check the path"
