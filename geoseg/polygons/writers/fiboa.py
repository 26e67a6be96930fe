"""Write fiboa 0.3: GeoParquet with the standard columns of crop fields.

Specifications: https://github.com/fiboa/specification/tree/v0.3.0 (columns, their units and limits) and
https://github.com/vecorel/specification/tree/v0.1.0 (the collection in the file's metadata).
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SettingsError
from geoseg.polygons.table.schema import COLUMNS, GEOMETRY, statistic_column
from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.writers.geoparquet import write_geoparquet

if TYPE_CHECKING:
    import pyarrow as pa

VECOREL = "https://vecorel.org/specification/v0.1.0/schema.yaml"
FIBOA = "https://fiboa.org/specification/v0.3.0/schema.yaml"
METHOD = "auto-imagery"
"""fiboa's term for boundaries that a program found in imagery."""
MAX_AREA = 1e9
"""Largest area of a field in fiboa's schema, in square metres."""
_HECTARE = 10_000.0
_KINDS = {"float64": "double", "bool": "boolean", "date32": "date"}  # Arrow's name -> Vecorel's


@dataclass(frozen=True, slots=True)
class Fiboa:
    """Writes GeoParquet with fiboa's columns before the geometry.

    Attributes:
        collection: Identifier of the collection; together with ``id`` it identifies a field.
    """

    collection: str
    name: str = "fiboa"
    suffix: str = ".parquet"
    driver: str | None = None
    on_earth: bool = True

    def write(self, table: PolygonTable, path: Path) -> None:
        """Write all rows, in order.

        Raises:
            SettingsError: If a polygon is larger than fiboa allows.
        """
        _check_sizes(table)
        write_geoparquet(
            table,
            path,
            schema=_schema(table),
            batches=_batches(table),
            metadata={"collection": json.dumps(_collection(self.collection, table))},
            bbox_may_be_null=True,  # fiboa's schema says so; the values are never null
        )


def _check_sizes(table: PolygonTable) -> None:
    areas = table.areas_ha()
    if areas is None or not areas.size or areas.max() * _HECTARE <= MAX_AREA:
        return
    largest = table.take(np.arange(areas.size) == areas.argmax())
    row = next(largest.batches()).select(["id", "class_name"]).to_pylist()[0]
    raise SettingsError(
        f"--fiboa: polygon {row['id']} ({row['class_name']}) has {areas.max() / 100:,.0f} km2, and a field "
        f"of fiboa at most {MAX_AREA / 1e6:,.0f}; name the classes that are crop fields with --classes"
    )


def _schema(table: PolygonTable) -> pa.Schema:
    """Return the schema with fiboa's columns before the geometry."""
    import pyarrow as pa

    added = [
        pa.field("metrics:area", pa.float32()),
        pa.field("metrics:perimeter", pa.float32()),
        pa.field("determination:datetime", pa.timestamp("ms", tz="UTC")),
        pa.field("determination:method", pa.string()),
    ]
    ours = table.schema
    return pa.schema([*(f for f in ours if f.name != GEOMETRY), *added, ours.field(GEOMETRY)])


def _batches(table: PolygonTable) -> Iterator[tuple[pa.RecordBatch, NDArray[np.float64]]]:
    import pyarrow as pa

    schema = _schema(table)
    moment = None
    if table.date is not None:
        moment = datetime.datetime.combine(table.date, datetime.time(), datetime.UTC)
    for batch, boxes in table.batches_with_boxes():
        values = dict(zip(batch.schema.names, batch.columns, strict=True))
        values |= {
            "metrics:area": _positive(batch.column("area_ha"), _HECTARE),
            "metrics:perimeter": _positive(batch.column("perimeter_m"), 1.0),
            "determination:datetime": pa.array(
                [moment] * batch.num_rows, schema.field("determination:datetime").type
            ),
            "determination:method": pa.array([METHOD] * batch.num_rows, pa.string()),
        }
        yield pa.record_batch([values[name] for name in schema.names], schema=schema), boxes


def _positive(values: pa.Array, factor: float) -> pa.Array:
    """Multiply values, as float32; values that are not positive become null, as fiboa demands."""
    import pyarrow as pa

    numbers = values.to_numpy(zero_copy_only=False) * factor
    return pa.array(numbers.astype(np.float32), mask=~(numbers > 0))


def _collection(name: str, table: PolygonTable) -> dict[str, Any]:
    """Describe the collection: its schemas, and the types of our own columns."""
    added = () if table.zonal is None else map(statistic_column, table.zonal.columns)
    ours = [column for column in (*COLUMNS, *added) if column.name not in ("id", GEOMETRY)]
    return {
        "collection": name,
        "schemas": {name: [VECOREL, FIBOA]},
        "schemas:custom": {
            "$schema": "https://vecorel.org/sdl/v0.2.0/schema.json",
            "required": [column.name for column in ours if not column.may_be_null],
            "properties": {column.name: {"type": _KINDS.get(column.kind, column.kind)} for column in ours},
        },
    }
