"""How several files make one scene: stacked on one grid, or side by side as a mosaic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from geoseg.errors import SceneError
from geoseg.raster.georeference import Georeference, same_transform
from geoseg.scene.file import SceneFile
from geoseg.scene.names import name_in_file_name, stem
from geoseg.scene.probe import Facts

_TOLERANCE = 0.01
"""Pixels by which grids may be off and still count as one (headers are rounded)."""


@dataclass(frozen=True)
class Arrangement:
    """Files in their places.

    Attributes:
        shape: (rows, columns) of the scene.
        georeference: Of the scene.
        stacks: The files of each stack.
        leaders: For each stack, the position of the file that describes its bands.
    """

    shape: tuple[int, int]
    georeference: Georeference
    stacks: tuple[tuple[SceneFile, ...], ...]
    leaders: tuple[int, ...]


def arrange(files: Sequence[Facts]) -> Arrangement:
    """Stack files that lie on one grid; put aligned tiles with the same bands together.

    Raises:
        SceneError: If the files fit together in neither way.
    """
    first = files[0]
    if all(_same_grid(first, other) for other in files[1:]):
        stacks = tuple((file.file,) for file in files)
        return Arrangement(first.shape, first.georeference, stacks, tuple(range(len(files))))
    for other in files[1:]:
        if not _same_grid(first, other):
            _refuse_unless_tile(first, other)
    return _mosaic(files)


def _mosaic(files: Sequence[Facts]) -> Arrangement:
    first = files[0]
    places = [_offset(first, file) for file in files]
    top, left = min(row for row, _ in places), min(col for _, col in places)
    tiles = tuple(file.file.at(row - top, col - left) for file, (row, col) in zip(files, places, strict=True))
    shape = max(tile.window.row_stop for tile in tiles), max(tile.window.col_stop for tile in tiles)
    return Arrangement(shape, first.georeference.cut(top, left), (tiles,), (0,))


def _same_grid(a: Facts, b: Facts) -> bool:
    if a.shape != b.shape or a.georeference.crs != b.georeference.crs:
        return False
    one, other = a.georeference.transform, b.georeference.transform
    return same_transform(one, other, a.shape) and (one is not None or _same_points(a, b))


def _same_points(a: Facts, b: Facts) -> bool:
    """Whether two files have the same ground control points and RPCs (or both have none)."""
    points = [[(p.row, p.col, p.x, p.y, p.z) for p in facts.georeference.gcps] for facts in (a, b)]
    return points[0] == points[1] and a.georeference.rpcs == b.georeference.rpcs


def _same_pixels(a: Facts, b: Facts) -> bool:
    """Whether pixels have the same size and direction, to within the tolerance over the whole raster."""
    t, u = a.georeference.transform, b.georeference.transform
    if t is None or u is None:
        return False
    size = max(abs(t.a), abs(t.b), abs(t.d), abs(t.e))
    longest = max(*a.shape, *b.shape)
    pairs = ((t.a, u.a), (t.b, u.b), (t.d, u.d), (t.e, u.e))
    return all(abs(x - y) * longest < _TOLERANCE * size for x, y in pairs)


def _place(a: Facts, b: Facts) -> tuple[float, float]:
    """(row, column) on a's grid of b's upper left corner."""
    t, u = a.georeference.transform, b.georeference.transform
    if t is None or u is None:
        return math.nan, math.nan
    inverse = ~t
    x, y = u.c, u.f
    return inverse.d * x + inverse.e * y + inverse.f, inverse.a * x + inverse.b * y + inverse.c


def _offset(a: Facts, b: Facts) -> tuple[int, int]:
    row, col = _place(a, b)
    return round(row), round(col)


def _refuse_unless_tile(first: Facts, other: Facts) -> None:
    """Raise, saying why, unless ``other`` can lie beside ``first`` in a mosaic."""
    pair = f"{first.path} and {other.path} do not fit together"
    if first.georeference.transform is None or other.georeference.transform is None:
        raise SceneError(
            f"{pair}: {_size(first)} and {_size(other)}, and without a transform nothing says how they lie; "
            "name files of one size, or one file"
        )
    if first.georeference.crs != other.georeference.crs:
        raise SceneError(
            f"{pair}: their CRSs differ ({_crs(first)}, {_crs(other)}); warp them to one with gdalwarp -t_srs"
        )
    if not _same_pixels(first, other):
        raise SceneError(
            f"{pair}: their pixels are {_pixel(first)} and {_pixel(other)}; --warp resamples all "
            "files to the finest grid, or make one file with gdalbuildvrt -separate -resolution highest"
        )
    row, col = _place(first, other)
    if max(abs(row - round(row)), abs(col - round(col))) >= _TOLERANCE:
        raise SceneError(
            f"{pair}: their grids are shifted by part of a pixel ({abs(row - round(row)):.2f} rows, "
            f"{abs(col - round(col)):.2f} columns); use --warp for bands, gdalwarp -tap for tiles"
        )
    if _bands(first) != _bands(other):
        raise SceneError(
            f"{pair}: they cover different areas, and tiles of a mosaic need the same bands and data types; "
            "--warp cuts bands of one scene to the finest file's extent"
        )
    if _values(first) != _values(other):
        raise SceneError(
            f"{pair}: tiles of a mosaic need the same nodata, scale and offset "
            f"({_values(first)}; {_values(other)}); make one file with gdalbuildvrt"
        )


def _size(facts: Facts) -> str:
    return f"{facts.shape[0]} x {facts.shape[1]} pixels"


def _crs(facts: Facts) -> str:
    crs = facts.georeference.crs
    return crs.to_string()[:40] if crs else "none"


def _pixel(facts: Facts) -> str:
    t = facts.georeference.transform
    return "unknown" if t is None else f"{math.hypot(t.b, t.e):.6g} x {math.hypot(t.a, t.d):.6g} CRS units"


def _bands(facts: Facts) -> tuple[object, ...]:
    """What tiles of a mosaic must have in common; a file name that ends in a band's name counts."""
    return facts.dtypes, facts.descriptions, facts.colours, name_in_file_name(stem(facts.path))


def _values(facts: Facts) -> str:
    """nodata, scale and offset of all bands, equal as text even where nodata is NaN."""
    triples = zip(facts.nodata, facts.scales, facts.offsets, strict=True)
    texts = [f"nodata {nodata}, scale {scale:g}, offset {offset:g}" for nodata, scale, offset in triples]
    return " / ".join(dict.fromkeys(texts))
