"""Streamed COGs made of arrays, for tests."""

from __future__ import annotations

import warnings

import numpy as np
import rasterio
from rasterio.transform import Affine

from geoseg.grid import Window
from geoseg.maps.cog.cog import StreamedCog
from geoseg.maps.cog.pyramid import HALVE


def assert_valid_cog(path):
    """Judge a file as ``rio cogeo validate --strict`` does."""
    from rio_cogeo.cogeo import cog_validate

    valid, errors, warned = cog_validate(path, strict=True)
    assert valid, errors + warned


def describe(dataset):
    dataset.nodata = 255
    dataset.transform = Affine(30, 0, 5e5, 0, -30, 5e6)
    dataset.update_tags(MADE_BY="a test")


def describe_overview(dataset):
    dataset.nodata = 255


def stream(path, pixels, windows, done=None, halve="AVERAGE"):
    """Write windows of an array (bands, rows, columns); ``done`` gets each when it was handed over."""
    with warnings.catch_warnings(action="ignore"):
        made = StreamedCog(
            pixels.shape[1:],
            len(pixels),
            halve=HALVE[halve],
            level=1,
            spool=path.with_suffix(".tiles"),
            describe=describe,
            describe_overview=describe_overview,
        )
    for window in windows:
        made.write(window, pixels[(slice(None), *window.slices())])
        if done is not None:
            done.append(window)
    made.finish(path)
    return path


def pieces(shape, step):
    """Windows of ``step`` (rows, columns) that cover a raster, in row order."""
    rows, cols = shape
    return [
        Window.from_bounds(row, col, min(row + step[0], rows), min(col + step[1], cols))
        for row in range(0, rows, step[0])
        for col in range(0, cols, step[1])
    ]


def smaller(pixels, halve):
    """An array at half its resolution; odd sizes are filled up with nodata."""
    odd = [(0, 0), (0, pixels.shape[1] % 2), (0, pixels.shape[2] % 2)]
    return halve(np.pad(pixels, odd, constant_values=255))


def read_level(path, level):
    """All bands of an overview."""
    with rasterio.open(path, overview_level=level) as raster:
        return raster.read()
