"""Write a table with GDAL through pyogrio and Arrow, for all formats that GDAL writes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.polygons.table.schema import GEOMETRY, LAYER
from geoseg.polygons.table.table import PolygonTable

if TYPE_CHECKING:
    import pyarrow as pa

FIXED_TIME = "2000-01-01T00:00:00.000Z"
"""Time written where a format demands one, so that equal tables give equal files."""


def write_with_gdal(
    table: PolygonTable, path: Path, driver: str, *, days_as_text: bool = False, **options: Any
) -> None:
    """Stream a table into one GDAL layer, batch by batch.

    Args:
        table: The table.
        path: A file that does not exist yet.
        driver: GDAL's name of the format.
        days_as_text: Whether to write dates as text, ``2024-07-31``: JSON has no dates, and GDAL would write
            slashes.
        options: Further arguments of ``pyogrio.write_arrow``.
    """
    import pyarrow as pa
    import pyogrio
    import pyproj

    crs = None if table.crs is None else pyproj.CRS.from_user_input(table.crs).to_wkt()
    failed: list[Exception] = []
    schema = _with_text_for_days(table.schema) if days_as_text else table.schema
    reader = pa.RecordBatchReader.from_batches(schema, _record_errors(table, schema, failed))
    with _fixed_clock(), _raise_recorded(failed), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        warnings.filterwarnings("ignore", message="At least one tile exceeded")  # docs/polygons.md says so
        pyogrio.write_arrow(
            reader,
            path,
            layer=LAYER,
            driver=driver,
            geometry_name=GEOMETRY,
            geometry_type="Polygon",
            crs=crs,
            **options,
        )


def as_metadata(provenance: Mapping[str, str]) -> dict[str, str]:
    """Return provenance as GDAL metadata, in a fixed order."""
    return {key: provenance[key] for key in sorted(provenance)}


def _with_text_for_days(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        field.with_type(pa.string()) if pa.types.is_date32(field.type) else field for field in schema
    )


def _record_errors(
    table: PolygonTable, schema: pa.Schema, failed: list[Exception]
) -> Iterator[pa.RecordBatch]:
    """Yield the table's batches, and record an error in them: GDAL only reports that there was one."""
    import pyarrow as pa

    try:
        for batch in table.batches():
            columns = [c.cast(field.type) for c, field in zip(batch.columns, schema, strict=True)]
            yield pa.record_batch(columns, schema=schema)
    except Exception as error:
        failed.append(error)
        raise


@contextmanager
def _raise_recorded(failed: list[Exception]) -> Iterator[None]:
    """Raise the recorded error instead of GDAL's."""
    try:
        yield
    except RuntimeError:
        if failed:
            raise failed[0] from None
        raise


@contextmanager
def _fixed_clock() -> Iterator[None]:
    """Make GDAL write a fixed time instead of the current one."""
    import pyogrio

    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": FIXED_TIME})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})
