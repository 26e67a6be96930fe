"""Read the provenance in the metadata of a polygon file, if its format has a place for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from geoseg.errors import OutputError
from geoseg.maps.class_map_file import DATE_TAG
from geoseg.polygons.table.schema import LAYER

OURS = ("GEOSEG_", DATE_TAG)
"""Prefixes of the keys of provenance; formats store other metadata beside them."""


def read_provenance(path: Path) -> dict[str, str] | None:
    """Read the provenance of a polygon file.

    Args:
        path: A file in one of the formats of ``WRITERS``.

    Returns:
        Key to text, empty if there is none; None if the format has no place for it.

    Raises:
        OutputError: If the file cannot be read.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        return None
    try:
        found = reader(path)
    except (OSError, ValueError, RuntimeError) as error:  # of pyarrow, JSON and GDAL
        raise OutputError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    return {str(key): str(value) for key, value in found.items() if str(key).startswith(OURS)}


def _of_layer(path: Path) -> Mapping[str, Any]:
    import pyogrio

    found: Mapping[str, Any] = pyogrio.read_info(path, layer=LAYER)["layer_metadata"] or {}
    return found


def _of_tiles(path: Path) -> Mapping[str, Any]:
    import pyogrio

    text = (pyogrio.read_info(path, layer=LAYER)["dataset_metadata"] or {}).get("description", "{}")
    found = json.loads(text)
    return found if isinstance(found, dict) else {}


def _of_schema(path: Path) -> Mapping[str, Any]:
    import pyarrow.parquet as pq

    metadata = pq.read_schema(path).metadata or {}
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, value in metadata.items()}


_READERS: dict[str, Callable[[Path], Mapping[str, Any]]] = {
    ".gpkg": _of_layer,
    ".fgb": _of_layer,
    ".parquet": _of_schema,
    ".pmtiles": _of_tiles,
}
