"""Small rasters for the tests of the scene."""

from __future__ import annotations

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

NORTH_UP = Affine(30, 0, 500_000, 0, -30, 5_000_000)


def ramp(bands: int, rows: int, cols: int, dtype="int16", start: int = 1) -> np.ndarray:
    """Values that differ everywhere (up to the dtype's range), none 0."""
    span = min(np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else 2**24, 2**24) - start
    values = np.arange(bands * rows * cols) % span + start
    return values.reshape(bands, rows, cols).astype(dtype)


def write(path, values, *, descriptions=None, colours=None, scales=None, offsets=None, mask=None, **profile):
    """Write (bands, rows, columns) to a GeoTIFF (or ``driver``), in UTM 14N at 30 m unless told otherwise."""
    options = {"driver": "GTiff", "crs": "EPSG:32614", "transform": NORTH_UP, "photometric": "MINISBLACK"}
    if profile.get("driver", "GTiff") != "GTiff":
        options.pop("photometric")
    options |= profile
    tags = options.pop("tags", {})
    gcps = options.pop("gcps", None)
    options = {key: value for key, value in options.items() if value is not None}
    count, height, width = values.shape
    with rasterio.open(
        path, "w", count=count, height=height, width=width, dtype=values.dtype, **options
    ) as file:
        if colours:
            file.colorinterp = [ColorInterp[colour] for colour in colours]
        file.write(values)
        for i, text in enumerate(descriptions or (), 1):
            file.set_band_description(i, text)
        if scales:
            file.scales = scales
        if offsets:
            file.offsets = offsets
        if mask is not None:
            file.write_mask(mask)
        if gcps:
            file.gcps = gcps
        file.update_tags(**tags)
    return path
