"""Arrange several files as one scene: stacked on one grid, as a mosaic of tiles, or warped to one grid.

Warps resample by nearest neighbour, so no new values arise, and no value mixes with nodata. Pixels outside
the source are transparent, hence invalid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rasterio.transform import array_bounds
from rasterio.warp import transform_bounds

from geoseg.errors import SceneError
from geoseg.raster.georeference import Georeference, same_transform
from geoseg.raster.source import GDAL_ERRORS, Source, Warp
from geoseg.scene.band import can_hold
from geoseg.scene.band_names import name_in_file_name
from geoseg.scene.file import SceneFile, reason, stem
from geoseg.scene.probe import FileHeader

_TOLERANCE = 0.01
"""Pixels by which equal grids may differ, because headers are rounded."""

_LEAST_SHARE = 0.5
"""Least share of the finest file's area that another file must cover to belong to the same scene."""


@dataclass(frozen=True)
class Arrangement:
    """The files of a scene, placed on its grid.

    Attributes:
        shape: (rows, columns) of the scene.
        georeference: The georeferencing of the scene.
        stacks: The files of each stack.
        leaders: Index of the file that describes the bands of each stack.
    """

    shape: tuple[int, int]
    georeference: Georeference
    stacks: tuple[tuple[SceneFile, ...], ...]
    leaders: tuple[int, ...]


def arrange(files: Sequence[FileHeader]) -> Arrangement:
    """Stack files that lie on one grid, or join aligned tiles with the same bands as a mosaic.

    Raises:
        SceneError: If neither is possible.
    """
    first = files[0]
    if all(_same_grid(first, other) for other in files[1:]):
        stacks = tuple((file.file,) for file in files)
        return Arrangement(first.shape, first.georeference, stacks, tuple(range(len(files))))
    for other in files[1:]:
        if not _same_grid(first, other):
            _refuse_unless_tile(first, other)
    return _mosaic(files)


def warp_files(files: Sequence[FileHeader], nodata: float | None) -> list[FileHeader]:
    """Warp all files to one north-up grid, that of the finest file.

    A file that lies on that grid already is not warped; nor are north-up files that fit together anyway.

    Args:
        files: The files.
        nodata: Nodata value that the user gave, or None.

    Raises:
        SceneError: If a file has no georeferencing, or does not overlap the others.
    """
    for file in files:
        _check_warpable(file)
    if all(file.georeference.is_north_up for file in files) and _fit_together(files):
        return list(files)
    upright = [file if file.georeference.is_north_up else _turned_up(file, nodata) for file in files]
    grid = min(upright, key=lambda file: file.georeference.gsd(file.shape) or float("inf"))
    crs, transform = grid.georeference.crs, grid.georeference.transform
    assert crs is not None  # a north-up or warped file has both
    assert transform is not None
    warp = Warp(crs.to_wkt(), tuple(transform)[:6], grid.shape)
    aligned = []
    for file, now in zip(files, upright, strict=True):
        if now is not grid:
            _check_overlap(grid, now)
        on_grid = now.georeference == grid.georeference and now.shape == grid.shape
        own = replace(warp, nodata=_storable(file, nodata))
        aligned.append(now if on_grid else _warped(file, own))
    return aligned


def _mosaic(files: Sequence[FileHeader]) -> Arrangement:
    first = files[0]
    places = [_offset(first, file) for file in files]
    top, left = min(row for row, _ in places), min(col for _, col in places)
    tiles = tuple(file.file.at(row - top, col - left) for file, (row, col) in zip(files, places, strict=True))
    shape = max(tile.window.row_stop for tile in tiles), max(tile.window.col_stop for tile in tiles)
    return Arrangement(shape, first.georeference.cut(top, left), (tiles,), (0,))


def _same_grid(a: FileHeader, b: FileHeader) -> bool:
    if a.shape != b.shape or a.georeference.crs != b.georeference.crs:
        return False
    one, other = a.georeference.transform, b.georeference.transform
    return same_transform(one, other, a.shape) and (one is not None or _same_points(a, b))


def _same_points(a: FileHeader, b: FileHeader) -> bool:
    """Tell whether two files have the same ground control points and RPCs, or both have none."""
    points = [[(p.row, p.col, p.x, p.y, p.z) for p in facts.georeference.gcps] for facts in (a, b)]
    return points[0] == points[1] and a.georeference.rpcs == b.georeference.rpcs


def _same_pixels(a: FileHeader, b: FileHeader) -> bool:
    """Tell whether pixels have the same size and direction, within the tolerance over the whole raster."""
    t, u = a.georeference.transform, b.georeference.transform
    if t is None or u is None:
        return False
    size = max(abs(t.a), abs(t.b), abs(t.d), abs(t.e))
    longest = max(*a.shape, *b.shape)
    pairs = ((t.a, u.a), (t.b, u.b), (t.d, u.d), (t.e, u.e))
    return all(abs(x - y) * longest < _TOLERANCE * size for x, y in pairs)


def _corner(a: FileHeader, b: FileHeader) -> tuple[float, float]:
    """Locate b's upper left corner as (row, column) on a's grid."""
    t, u = a.georeference.transform, b.georeference.transform
    if t is None or u is None:
        return math.nan, math.nan
    inverse = ~t
    x, y = u.c, u.f
    return inverse.d * x + inverse.e * y + inverse.f, inverse.a * x + inverse.b * y + inverse.c


def _offset(a: FileHeader, b: FileHeader) -> tuple[int, int]:
    row, col = _corner(a, b)
    return round(row), round(col)


def _refuse_unless_tile(first: FileHeader, other: FileHeader) -> None:
    """Refuse two files that cannot be tiles of one mosaic, and say why."""
    pair = f"{first.path} and {other.path} do not fit together"
    if first.georeference.transform is None or other.georeference.transform is None:
        raise SceneError(
            f"{pair}: they have {_size(first)} and {_size(other)}, and without a transform their "
            "place is unknown; name files of one size, or one file"
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
    row, col = _corner(first, other)
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


def _size(facts: FileHeader) -> str:
    return f"{facts.shape[0]} x {facts.shape[1]} pixels"


def _crs(facts: FileHeader) -> str:
    crs = facts.georeference.crs
    return crs.to_string()[:40] if crs else "none"


def _pixel(facts: FileHeader) -> str:
    t = facts.georeference.transform
    return "unknown" if t is None else f"{math.hypot(t.b, t.e):.6g} x {math.hypot(t.a, t.d):.6g} CRS units"


def _bands(facts: FileHeader) -> tuple[object, ...]:
    """Return what all tiles of a mosaic must share; the band's name at the end of a file name counts too."""
    return facts.dtypes, facts.descriptions, facts.colours, name_in_file_name(stem(facts.path))


def _values(facts: FileHeader) -> str:
    """Return nodata, scale and offset of all bands as text, in which NaN equals NaN."""
    triples = zip(facts.nodata, facts.scales, facts.offsets, strict=True)
    texts = [f"nodata {nodata}, scale {scale:g}, offset {offset:g}" for nodata, scale, offset in triples]
    return " / ".join(dict.fromkeys(texts))


def _check_warpable(file: FileHeader) -> None:
    georeference = file.georeference
    if georeference.ground_crs is None or (georeference.transform is None and not georeference.needs_warp):
        raise SceneError(
            f"{file.path}: --warp needs a CRS and a transform, ground control points or RPCs; it has none"
        )
    has_mask = file.file.mask_of is not None or file.file.alpha is not None
    if has_mask and any(value is not None for value in file.nodata):
        raise SceneError(
            f"{file.path}: has a nodata value and a mask or alpha band as well, which --warp cannot honour "
            "together; run gdalwarp -dstalpha first"
        )
    if file.not_alpha:
        band = min(file.not_alpha)
        raise SceneError(
            f"{file.path}: --warp would take band {band} for transparency, because it is marked as alpha; "
            f"run gdal_edit.py -colorinterp_{band} undefined first"
        )
    if file.file.has_band_masks:
        raise SceneError(f"{file.path}: each band has a mask of its own, which --warp cannot honour")


def _fit_together(files: Sequence[FileHeader]) -> bool:
    try:
        arrange(files)
    except SceneError:
        return False
    return True


def _turned_up(file: FileHeader, nodata: float | None) -> FileHeader:
    """Warp a file to a north-up grid that GDAL chooses for it."""
    crs = file.georeference.ground_crs
    assert crs is not None  # files without one were refused
    return _warped(file, Warp(crs.to_wkt(), nodata=_storable(file, nodata)))


def _storable(file: FileHeader, nodata: float | None) -> float | None:
    """Return the nodata value if the file can store it, else None, because GDAL refuses others."""
    can = nodata is not None and all(can_hold(dtype, nodata) for dtype in file.dtypes)
    return nodata if can else None


def _warped(file: FileHeader, warp: Warp) -> FileHeader:
    """Describe a file as it is after a warp."""
    source = Source(file.path, warp)
    try:
        with source.open() as dataset:
            warped = SceneFile.of(source, dataset)
            has_mask = file.file.mask_of is not None or file.file.alpha is not None
            return replace(
                file,
                file=replace(warped, alpha_is_coverage=not has_mask),
                georeference=Georeference.of(dataset),
                block_shape=dataset.block_shapes[0],
            )
    except GDAL_ERRORS as error:
        raise SceneError(f"{file.path}: cannot be warped ({reason(error)}); try gdalwarp") from error


def _check_overlap(grid: FileHeader, file: FileHeader) -> None:
    left, bottom, right, top = _bounds(grid, grid)
    west, south, east, north = _bounds(file, grid)
    width, height = min(right, east) - max(left, west), min(top, north) - max(bottom, south)
    covered = max(width, 0) * max(height, 0) / ((right - left) * (top - bottom))
    if covered < _LEAST_SHARE:
        raise SceneError(
            f"{file.path} covers {covered:.0%} of the area of {grid.path}, the finest file, so they are not "
            "bands of one scene; put tiles together with gdalbuildvrt first"
        )


def _bounds(file: FileHeader, grid: FileHeader) -> tuple[float, float, float, float]:
    """Return (left, bottom, right, top) of a file in the grid's CRS."""
    bounds = array_bounds(*file.shape, file.georeference.transform)
    left, bottom, right, top = transform_bounds(file.georeference.crs, grid.georeference.crs, *bounds)
    return left, bottom, right, top
