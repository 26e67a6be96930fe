"""Schema of the polygon table, a published contract: its columns and its version.

``docs/polygons.md`` documents the same columns; a test compares the two. The version is ``MAJOR`` or
``MAJOR.MINOR``. Adding a column raises the minor number. Removing one, or changing its name, type, unit or
meaning, raises the major number. A reader of version 1 reads every 1.x and takes columns by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geoseg.errors import InputError
from geoseg.polygons.zonal.statistics import ZonalColumn

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = "1.1"
VERSION_KEY = "GEOSEG_POLYGONS_SCHEMA"
"""Metadata key of the version."""
LAYER = "polygons"
GEOMETRY = "geometry"


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: Its name, the same in every format.
        kind: Arrow's name of its type; geometries are WKB.
        unit: Unit of its values; empty if there is none.
        may_be_null: Whether a value may be null.
    """

    name: str
    kind: str
    unit: str = ""
    may_be_null: bool = False


COLUMNS = (
    Column("id", "string"),
    Column("class_id", "int32"),
    Column("class_name", "string"),
    Column("area_ha", "float64", "hectares", may_be_null=True),
    Column("perimeter_m", "float64", "metres", may_be_null=True),
    Column("pixel_count", "int64", "pixels"),
    Column("confidence", "float64", "0-1", may_be_null=True),
    Column("confidence_min", "float64", "0-1", may_be_null=True),
    Column("runner_up", "string", may_be_null=True),
    Column("touches_edge", "bool"),
    Column("date", "date32", "day", may_be_null=True),
    Column(GEOMETRY, "binary", "CRS"),
)


def statistic_column(column: ZonalColumn) -> Column:
    """Describe the optional column of a statistic of another raster (since version 1.1)."""
    if column.statistic == "count":
        return Column(column.name, "int64", "pixels")
    return Column(column.name, "float64", "its raster's", may_be_null=True)


def arrow_schema(statistics: Iterable[ZonalColumn] = ()) -> pa.Schema:
    """Return the Arrow schema of the table.

    Args:
        statistics: Statistics of other rasters; their columns come before the geometry.
    """
    import pyarrow as pa

    columns = (*COLUMNS[:-1], *map(statistic_column, statistics), COLUMNS[-1])
    types = {"bool": pa.bool_(), "date32": pa.date32()}
    return pa.schema(
        pa.field(
            column.name, types.get(column.kind) or pa.type_for_alias(column.kind), nullable=column.may_be_null
        )
        for column in columns
    )


def check_version(version: str | None, where: str) -> None:
    """Refuse a table whose schema this version of geoseg does not know.

    Args:
        version: The version in the file's metadata, or None.
        where: The file, for the message.

    Raises:
        InputError: If there is no version, or its major number differs.
    """
    if version is None:
        raise InputError(
            f"{where}: its metadata has no {VERSION_KEY}, so it is not a polygon table of geoseg, or another "
            "program rewrote it; give the file that geoseg predict or geoseg polygonize wrote"
        )
    known = SCHEMA_VERSION.split(".", maxsplit=1)[0]
    if version.split(".")[0] != known:
        raise InputError(
            f"{where}: a polygon table of version {version}, and this reads version {known}; write it again "
            "with geoseg polygonize of this geoseg, or use the geoseg it came from"
        )
