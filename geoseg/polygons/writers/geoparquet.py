"""Write GeoParquet 1.1: a column of WKB, a bbox column by which readers can filter, and the geo metadata.

Specification: https://geoparquet.org/releases/v1.1.0/
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.table.schema import GEOMETRY
from geoseg.polygons.table.table import PolygonTable

if TYPE_CHECKING:
    import pyarrow as pa

BBOX = "bbox"
_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, slots=True)
class GeoParquet:
    """Writes GeoParquet 1.1 with a bbox covering, compressed with zstd."""

    name: str = "GeoParquet"
    suffix: str = ".parquet"
    driver: str | None = None
    on_earth: bool = False

    def write(self, table: PolygonTable, path: Path) -> None:
        """Write all rows, in order."""
        write_geoparquet(table, path, schema=table.schema, batches=table.batches_with_boxes())


GEOPARQUET = GeoParquet()


def write_geoparquet(
    table: PolygonTable,
    path: Path,
    *,
    schema: pa.Schema,
    batches: Iterable[tuple[pa.RecordBatch, NDArray[np.float64]]],
    metadata: Mapping[str, str] | None = None,
    bbox_may_be_null: bool = False,
) -> None:
    """Stream rows into a file, one row group per batch, which covers a strip of the map.

    Args:
        table: The table from which the rows come.
        path: A file that does not exist yet.
        schema: Schema of the rows, the geometry included.
        batches: The rows and their bounding boxes; see ``PolygonTable.batches_with_boxes``.
        metadata: Metadata of the file besides the provenance.
        bbox_may_be_null: Whether the schema allows null in the bbox column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    known = {"geo": json.dumps(_geo(table))} | dict(metadata or {}) | dict(table.provenance)
    schema = schema.append(pa.field(BBOX, _bbox_type(), nullable=bbox_may_be_null)).with_metadata(known)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch, boxes in batches:
            columns = [*batch.columns, _bboxes(boxes)]
            writer.write_batch(pa.record_batch(columns, schema=schema), row_group_size=batch.num_rows)


def _geo(table: PolygonTable) -> dict[str, Any]:
    """Return the geo metadata of the file."""
    import pyproj

    crs = None if table.crs is None else pyproj.CRS.from_user_input(table.crs).to_json_dict()
    bounds = table.polygons.bounds()
    column = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"] if len(table) else [],
        "crs": crs,
        "orientation": "counterclockwise",
        "edges": "planar",
        "covering": {BBOX: {side: [BBOX, side] for side in _SIDES}},
    }
    if bounds is not None:
        column["bbox"] = list(bounds)
    return {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}


def _bbox_type() -> pa.DataType:
    import pyarrow as pa

    return pa.struct([pa.field(side, pa.float64(), nullable=False) for side in _SIDES])


def _bboxes(boxes: NDArray[np.float64]) -> pa.Array:
    """Convert bounding boxes to the values of the bbox column."""
    import pyarrow as pa

    return pa.StructArray.from_arrays([pa.array(side) for side in boxes.T], fields=list(_bbox_type()))
