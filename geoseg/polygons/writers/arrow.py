"""Write a table with GDAL through pyogrio and Arrow, for all formats that GDAL writes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.polygons.table.schema import GEOMETRY, LAYER

if TYPE_CHECKING:
    import pyarrow as pa

FIXED_TIME = "2000-01-01T00:00:00.000Z"
"""Time written where a format demands one, so that equal tables give equal files."""


def write_with_gdal(
    batches: Iterator[pa.RecordBatch],
    schema: pa.Schema,
    path: Path,
    driver: str,
    *,
    crs: str | None,
    **options: Any,
) -> None:
    """Stream rows into one GDAL layer, batch by batch.

    Args:
        batches: The rows.
        schema: Their schema; columns are cast to it.
        path: A file that does not exist yet.
        driver: GDAL's name of the format.
        crs: Their CRS as WKT, or None.
        options: Further arguments of ``pyogrio.write_arrow``.
    """
    import pyarrow as pa
    import pyogrio

    failed: list[BaseException] = []
    reader = pa.RecordBatchReader.from_batches(schema, _record_errors(batches, schema, failed))
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


def _record_errors(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, failed: list[BaseException]
) -> Iterator[pa.RecordBatch]:
    """Yield the batches, and record an error in them: GDAL only reports that there was one."""
    import pyarrow as pa

    try:
        for batch in batches:
            columns = [c.cast(field.type) for c, field in zip(batch.columns, schema, strict=True)]
            yield pa.record_batch(columns, schema=schema)
    except GeneratorExit:
        raise
    except BaseException as error:  # Ctrl-C too
        failed.append(error)
        raise


@contextmanager
def _raise_recorded(failed: list[BaseException]) -> Iterator[None]:
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
