"""Names and colours of classes from the table that ArcGIS keeps beside a raster: ``map.tif.vat.dbf``.

The USDA's Cropland Data Layer comes with one, for example.
https://pro.arcgis.com/en/pro-app/latest/help/data/imagery/raster-dataset-attribute-tables.htm
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_VALUE = "value"
_NAMES = (
    "class_name",
    "classname",
    "class_names",
    "name",
    "label",
    "category",
    "class",
    "descriptio",
    "description",
)
"""What columns of names are called, in lower case, the surest first."""
_CHANNELS = ("red", "green", "blue")


def read_value_table(raster: Path) -> tuple[dict[int, str], dict[int, str]]:
    """Read the table beside a raster.

    Args:
        raster: The raster's path.

    Returns:
        Names, and colours as "#rrggbb", by pixel value; empty where there is no table, or none that says so.
    """
    path = raster.with_name(raster.name + ".vat.dbf")
    if not path.is_file():
        return {}, {}
    columns = _columns(path)
    if _VALUE not in columns or _is_text(columns[_VALUE]):
        return {}, {}
    known = np.isfinite(columns[_VALUE].astype(np.float64))
    columns = {name: column[known] for name, column in columns.items()}
    values = columns[_VALUE].astype(np.int64).tolist()
    named = next((columns[name] for name in _NAMES if name in columns and _is_text(columns[name])), ())
    names = {
        value: str(name).strip()
        for value, name in zip(values, named, strict=False)
        if name is not None and str(name).strip()
    }
    return names, dict(zip(values, _colors(columns), strict=False))


def _columns(path: Path) -> Mapping[str, NDArray[np.generic]]:
    """All columns by name in lower case; none if the file cannot be read."""
    import pyogrio

    try:
        meta, _, _, fields = pyogrio.raw.read(path, read_geometry=False)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError):
        return {}
    return {name.lower(): values for name, values in zip(meta["fields"], fields, strict=True)}


def _is_text(values: NDArray[np.generic]) -> bool:
    return values.dtype.kind in "OU"


def _colors(columns: Mapping[str, NDArray[np.generic]]) -> Iterable[str]:
    """Channels are whole numbers to 255, or fractions of 1."""
    if not set(_CHANNELS) <= set(columns) or any(_is_text(columns[name]) for name in _CHANNELS):
        return
    channels = np.stack([columns[name].astype(np.float64) for name in _CHANNELS], axis=1)
    if np.nanmax(channels, initial=0) <= 1 and not _all_whole(columns):
        channels *= 255
    for red, green, blue in np.clip(np.rint(np.nan_to_num(channels)), 0, 255).astype(int).tolist():
        yield f"#{red:02x}{green:02x}{blue:02x}"


def _all_whole(columns: Mapping[str, NDArray[np.generic]]) -> bool:
    return all(columns[name].dtype.kind in "iu" for name in _CHANNELS)
