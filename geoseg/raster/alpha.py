"""Alpha bands: a mark that GDAL and other programs also give to a fourth band of measurements.

GDAL marks the last of four bytes as alpha unless it is told otherwise, so near infrared beside red, green and
blue often bears that mark.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from geoseg.raster.source import GDAL_ERRORS

_SIDE, _PLACES = 256, 4
"""Side of the windows that are looked at, and their number along each axis."""
_FEWEST = 100
_OPAQUE = 0.5
"""Least share of one value among those of an alpha band that are not 0. Soft edges have other values, but few
pixels; measurements spread over many values, the most common of which holds a tenth of them."""


def find_bands_marked_alpha(dataset: Any) -> frozenset[int]:
    """Find the 1-based numbers of bands that are marked as alpha but hold measurements, from some windows."""
    marked = [i for i, colour in enumerate(dataset.colorinterp, 1) if colour == ColorInterp.alpha]
    return frozenset(band for band in marked if not _is_mask(dataset, band))


def _is_mask(dataset: Any, band: int) -> bool:
    try:
        seen = np.concatenate([dataset.read(band, window=window).ravel() for window in _windows(dataset)])
    except GDAL_ERRORS:
        return True  # the run that reads all pixels will say it
    seen = seen[seen != 0]
    if seen.size < _FEWEST:
        return True
    _, counts = np.unique(seen, return_counts=True)
    return bool(counts.max() >= _OPAQUE * seen.size)


def _windows(dataset: Any) -> Iterator[Window]:
    """Spread windows over a raster, or cover it where it is small."""
    rows, cols = dataset.shape
    height, width = min(rows, _SIDE), min(cols, _SIDE)
    for row in np.unique(np.linspace(0, rows - height, _PLACES).astype(int)).tolist():
        for col in np.unique(np.linspace(0, cols - width, _PLACES).astype(int)).tolist():
            yield Window(col, row, width, height)
