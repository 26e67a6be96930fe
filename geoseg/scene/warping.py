"""Rotated scenes, and those located by ground control points or RPCs, read on a north-up grid.

Resampling is nearest neighbour: no value is made up, and no band mixes with nodata. Pixels outside the
source are transparent, hence invalid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rasterio.transform import array_bounds
from rasterio.warp import transform_bounds

from geoseg.errors import SceneError
from geoseg.raster.georeference import Georeference
from geoseg.raster.source import GDAL_ERRORS, Source, Warp
from geoseg.scene.band import can_hold
from geoseg.scene.file import SceneFile, reason
from geoseg.scene.layout import arrange
from geoseg.scene.probe import Facts

_LEAST_SHARE = 0.5
"""Share of the finest file's area that each further band must cover to count as a band of the same scene."""


def warp_files(files: Sequence[Facts], nodata: float | None) -> list[Facts]:
    """Give all files one north-up grid: that of the finest.

    A file that lies on that grid already is read as it is; so are north-up files that fit together anyway.

    Args:
        files: The files as they are.
        nodata: Nodata that the user named, or None.

    Raises:
        SceneError: If a file has no georeferencing, or lies elsewhere than the others.
    """
    for file in files:
        _check(file)
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


def _check(file: Facts) -> None:
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
    if file.file.has_band_masks:
        raise SceneError(f"{file.path}: each band has a mask of its own, which --warp cannot honour")


def _fit_together(files: Sequence[Facts]) -> bool:
    try:
        arrange(files)
    except SceneError:
        return False
    return True


def _turned_up(file: Facts, nodata: float | None) -> Facts:
    """The file on a north-up grid of its own."""
    crs = file.georeference.ground_crs
    assert crs is not None  # files without one were refused
    return _warped(file, Warp(crs.to_wkt(), nodata=_storable(file, nodata)))


def _storable(file: Facts, nodata: float | None) -> float | None:
    """A nodata value if the file can store it; GDAL refuses others."""
    can = nodata is not None and all(can_hold(dtype, nodata) for dtype in file.dtypes)
    return nodata if can else None


def _warped(file: Facts, warp: Warp) -> Facts:
    """The file as seen through a warp."""
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


def _check_overlap(grid: Facts, file: Facts) -> None:
    left, bottom, right, top = _bounds(grid, grid)
    west, south, east, north = _bounds(file, grid)
    width, height = min(right, east) - max(left, west), min(top, north) - max(bottom, south)
    covered = max(width, 0) * max(height, 0) / ((right - left) * (top - bottom))
    if covered < _LEAST_SHARE:
        raise SceneError(
            f"{file.path} covers {covered:.0%} of the area of {grid.path}, the finest file, so they are not "
            "bands of one scene; put tiles together with gdalbuildvrt first"
        )


def _bounds(file: Facts, grid: Facts) -> tuple[float, float, float, float]:
    """(left, bottom, right, top) of a file in the grid's CRS."""
    bounds = array_bounds(*file.shape, file.georeference.transform)
    left, bottom, right, top = transform_bounds(file.georeference.crs, grid.georeference.crs, *bounds)
    return left, bottom, right, top
