"""Read the polygons of vector files of any kind, repaired, with a count of the rows that have no area."""

from __future__ import annotations

import os
import re
import shlex
import warnings
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SceneError
from geoseg.files import exists
from geoseg.omissions import Omission

_PARQUET = (".parquet", ".geoparquet")
_ARCHIVES = {".tar": "/vsitar/", ".tgz": "/vsitar/", ".tar.gz": "/vsitar/", ".gz": "/vsigzip/"}
"""Compressed files that GDAL only opens by such a name; the first ending that fits counts."""
_BYTES = "ISO-8859-1"
"""The encoding that pyogrio names, and uses, for texts of a shapefile whose encoding is unknown."""
_WITHOUT_AREA = re.compile("Point|Line|Curve(?!Polygon)|Circular")
_KINDS = {-1: "without a geometry", 0: "points", 1: "lines", 2: "lines", 4: "points", 5: "lines"}


@dataclass(frozen=True, eq=False)
class VectorPolygons:
    """The rows of a vector file that have an area.

    Attributes:
        path: The file.
        count: Rows of the file.
        rows: Number in the file, from 0, of each row that is kept.
        shapes: Its geometry: a valid Polygon or MultiPolygon without Z, in the file's CRS.
        attributes: Its attributes, a DataFrame.
        crs: The CRS (pyproj), or None.
        repaired: Number in the file of each row whose geometry was repaired, and what was wrong.
        omissions: The rows without an area.
    """

    path: str
    count: int
    rows: NDArray[np.intp]
    shapes: NDArray[Any] = field(repr=False)
    attributes: Any = field(repr=False)
    crs: Any = None
    repaired: tuple[tuple[int, str], ...] = field(default=(), repr=False)
    omissions: tuple[Omission, ...] = ()

    def left_out(self, count: int, reason: str, things: str) -> tuple[Omission, ...]:
        """Make the omission of rows that nobody expects to be used; none if there are none."""
        if not count:
            return ()
        return (Omission("rows", self.path, count, self.count, things, reason, refuses=False),)


def is_vector(path: str) -> bool:
    """Tell whether a file holds geometries: whether GDAL opens it as a vector file, whatever its name."""
    return why_not_vector(path) is None


def why_not_vector(path: str) -> str | None:
    """Say why a file cannot be read as a vector file; None if it can."""
    if path.lower().endswith(_PARQUET):
        return None
    try:
        kinds = [kind for _, kind in list_layers(path)]
    except vector_errors() as error:
        return _reason(error)
    return None if any(kind != "None" for kind in kinds) else "it has no geometries"


def read_polygons(path: str | os.PathLike[str], named_by: str) -> VectorPolygons:
    """Read the polygons of a vector file; of several layers, those of the only one that holds any.

    Rings that are not closed are closed, invalid polygons repaired, curves drawn as lines, and collections
    reduced to their polygons.

    Args:
        path: The file: anything that GDAL opens, or GeoParquet.
        named_by: The option or key that gave it, for messages.

    Raises:
        SceneError: If it cannot be read, or holds no polygon.
    """
    path = os.fspath(path)
    require_file(path, named_by)
    try:
        read = _read_parquet(path) if path.lower().endswith(_PARQUET) else _read_layer(path, named_by)
    except vector_errors() as error:
        raise SceneError(f"{path} ({named_by}) cannot be read as a vector file: {_reason(error)}") from error
    return _polygons_of(path, named_by, *read)


def require_file(path: str, named_by: str) -> None:
    """Refuse the name of a local file that is not there.

    Raises:
        SceneError: Naming it.
    """
    if "://" not in path and not path.startswith("/vsi") and not exists(path):
        raise SceneError(f"{path}: no such file ({named_by})")


def vector_errors() -> tuple[type[Exception], ...]:
    """What pyogrio, geopandas, pyproj and shapely raise for files that they cannot read."""
    from pyogrio import errors
    from pyogrio._err import CPLE_BaseError
    from pyproj.exceptions import CRSError
    from shapely.errors import ShapelyError

    # OSError and ValueError: of the file system, pyarrow, encodings, and geopandas
    of_gdal = errors.DataSourceError, errors.DataLayerError, CPLE_BaseError
    return *of_gdal, CRSError, ShapelyError, ValueError, OSError


def _reason(error: Exception) -> str:
    """The first sentence of an error, without pyogrio's advice to name a driver."""
    return str(error).partition("; It might help")[0].partition("\n")[0] or type(error).__name__


def opened(path: str) -> str | bytes:
    """What pyogrio is given to open a file."""
    if "://" in path or path.startswith("/vsi"):
        return path
    if path.lower().endswith(".gml"):
        return Path(path).read_bytes()  # GDAL writes a .gfs beside a GML file that it opens
    archive = next((name for ending, name in _ARCHIVES.items() if path.lower().endswith(ending)), None)
    return path if archive is None else f"{archive}{os.path.abspath(path)}"


def list_layers(path: str) -> list[tuple[str, str]]:
    """List the name and the kind of geometry of every layer, as pyogrio does; errors as ``vector_errors``."""
    import pyogrio

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GDAL repeats them when the file is read
        return [(str(name), str(kind)) for name, kind in pyogrio.list_layers(opened(path))]


_Rows = tuple[Any, NDArray[Any], Any]
"""Attributes (DataFrame), geometries as well-known binary or shapely's, and the CRS."""


def _read_parquet(path: str) -> _Rows:
    import geopandas

    frame = geopandas.read_parquet(path)
    shapes = np.asarray(frame.geometry.values, object)
    return frame.drop(columns=frame.geometry.name), shapes, frame.crs


def _read_layer(path: str, named_by: str) -> _Rows:
    """Read the only layer that holds polygons; ignore styles and points beside it."""
    layers = [name for name, kind in list_layers(path) if kind != "None" and not _WITHOUT_AREA.search(kind)]
    if not layers:
        raise SceneError(f"{path} ({named_by}) holds no polygon")
    read = [(name, read_rows(path, name)) for name in layers]
    holding = [(name, rows) for name, rows in read if _has_polygon(rows[1])] or read[:1]
    if len(holding) > 1:
        names = ", ".join(name for name, _ in holding)
        raise SceneError(
            f"{path} ({named_by}) has several layers of polygons ({names}); save one of them alone: "
            f"ogr2ogr one.gpkg {shlex.quote(path)} {shlex.quote(holding[0][0])}"
        )
    return holding[0][1]


def read_rows(path: str, layer: str) -> _Rows:
    """Read a layer: its attributes, geometries and CRS; errors as ``vector_errors``."""
    import pandas
    import pyogrio
    from pyproj import CRS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rings that are not closed, which are closed here
        try:
            meta, _, shapes, columns = pyogrio.raw.read(opened(path), layer=layer, force_2d=True)
            is_unknown = meta["encoding"] == _BYTES
        except UnicodeDecodeError:  # a shapefile with the wrong .cpg
            meta, _, shapes, columns = pyogrio.raw.read(
                opened(path), layer=layer, force_2d=True, encoding=_BYTES
            )
            is_unknown = True
    names = [str(name) for name in meta["fields"]]
    if is_unknown:
        names, columns = _decode(names, columns)
    crs = None if meta["crs"] is None else CRS.from_user_input(meta["crs"])
    if crs is not None and crs.name.startswith("Undefined "):  # GeoPackage's words for none
        crs = None
    rows = range(len(shapes))
    return pandas.DataFrame(dict(zip(names, columns, strict=True)), index=rows), shapes, crs


def _decode(names: list[str], columns: list[NDArray[Any]]) -> tuple[list[str], list[NDArray[Any]]]:
    """Decode the texts of a shapefile that does not say its encoding: UTF-8 if they all are, else Windows'.

    pyogrio gives each byte as one character then.
    """
    texts = {text for column in columns if column.dtype == object for text in column if isinstance(text, str)}
    encoding = "utf-8"
    try:
        for text in [*names, *texts]:
            text.encode("latin-1").decode(encoding)
    except ValueError:
        encoding = "cp1252"

    def decoded(text: Any) -> Any:
        return text.encode("latin-1").decode(encoding, "replace") if isinstance(text, str) else text

    known = {text: decoded(text) for text in texts}
    return [decoded(name) for name in names], [
        np.array([known.get(text, text) for text in column], object) if column.dtype == object else column
        for column in columns
    ]


def _has_polygon(shapes: NDArray[Any]) -> bool:
    return bool(_is_areal(_parsed(shapes)[0]).any())


def _parsed(shapes: NDArray[Any]) -> tuple[NDArray[Any], dict[int, str]]:
    """Turn well-known binary into geometries; close rings, and say which."""
    import shapely

    if not any(isinstance(shape, bytes) for shape in shapes):
        return np.array(shapes, object), {}
    parsed = shapely.from_wkb(shapes, on_invalid="ignore")
    open_ones = np.flatnonzero(shapely.is_missing(parsed) & np.array([shape is not None for shape in shapes]))
    parsed[open_ones] = shapely.from_wkb(shapes[open_ones], on_invalid="fix")
    return parsed, {int(i): "a ring is not closed" for i in open_ones if parsed[i] is not None}


def _is_areal(shapes: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark geometries that have an area and finite coordinates."""
    import shapely

    coordinates, owner = shapely.get_coordinates(shapes, return_index=True)
    areal: NDArray[np.bool_] = shapely.area(shapes) > 0
    areal[owner[~np.isfinite(coordinates).all(axis=1)]] = False
    return areal


def _polygons_of(path: str, named_by: str, attributes: Any, stored: NDArray[Any], crs: Any) -> VectorPolygons:
    import shapely

    parsed, reasons = _parsed(stored)
    shapes = parsed.copy()
    finite = np.isfinite(shapely.bounds(shapes)).all(axis=1)
    for i in np.flatnonzero(finite & ~shapely.is_valid(shapes)):
        reasons.setdefault(int(i), shapely.is_valid_reason(shapes[i]))
        shapes[i] = shapely.make_valid(shapes[i])
    for i in np.flatnonzero(shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION):
        reasons.setdefault(int(i), "a collection, of which the polygons are used")
        shapes[i] = area_of(shapes[i])
    areal = _is_areal(shapes)
    if not areal.any():
        raise SceneError(f"{path} ({named_by}) holds no polygon{_describe_rest(stored, parsed, areal)}")
    omissions: tuple[Omission, ...] = ()
    if not areal.all():
        reason = f"they have no area{_describe_rest(stored, parsed, areal)}"
        count = int(np.count_nonzero(~areal))
        fix = "make polygons of them, or delete them (in QGIS)"
        omissions = (Omission("rows", path, count, len(areal), f"rows ({named_by})", reason, fix),)
    rows = np.flatnonzero(areal)
    return VectorPolygons(
        path=path,
        count=len(areal),
        rows=rows,
        shapes=shapes[rows],
        attributes=attributes.iloc[rows].reset_index(drop=True).apply(_plain),
        crs=crs,
        repaired=tuple(sorted((i, why) for i, why in reasons.items() if areal[i])),
        omissions=omissions,
    )


def _plain(column: Any) -> Any:
    """Write lists and the like, which GeoJSON may hold, as text."""
    if column.dtype != object:
        return column
    return column.map(lambda value: value if isinstance(value, Hashable) else str(value))


def area_of(shape: Any) -> Any:
    """Reduce a geometry to its polygons, as one valid geometry; None if there are none."""
    import shapely

    parts = shapely.get_parts([shape])
    while (nested := shapely.get_type_id(parts) > shapely.GeometryType.POLYGON).any():
        parts = np.concatenate([parts[~nested], shapely.get_parts(parts[nested])])
    polygons = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    polygons = shapely.make_valid(polygons[~shapely.is_empty(polygons)])
    united = shapely.union_all(polygons)
    if united.geom_type != "GeometryCollection":
        return united if shapely.area(united) > 0 else None
    areal = [part for part in shapely.get_parts(united) if shapely.area(part) > 0]
    return shapely.union_all(areal) if areal else None


def _describe_rest(stored: NDArray[Any], parsed: NDArray[Any], areal: NDArray[np.bool_]) -> str:
    """Say what the rows without an area are: " (points 2, without a geometry 1)"."""
    import shapely

    kinds: Counter[str] = Counter()
    for i in np.flatnonzero(~areal):
        if stored[i] is not None and parsed[i] is None:
            kinds["cannot be read"] += 1
        elif parsed[i] is not None and shapely.is_empty(parsed[i]):
            kinds["empty"] += 1
        else:
            kinds[_KINDS.get(int(shapely.get_type_id(parsed[i])), "without an area")] += 1
    listed = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common())
    return f" ({listed})" if listed else ""
