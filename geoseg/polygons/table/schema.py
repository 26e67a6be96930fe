"""The polygon table as a published contract: its columns and its version.

``docs/polygons.md`` says the same to people, a test keeps the two alike. The version has one or two numbers,
``MAJOR`` or ``MAJOR.MINOR``: the second grows when columns are added, the first when one goes or changes its
name, type, unit or meaning. A reader that knows version 1 reads every 1.x and takes columns by name.
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
"""Where the version stands in a file's metadata."""
LAYER = "polygons"
GEOMETRY = "geometry"


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: What it is called, in every format.
        kind: Arrow's name of its type; geometries are WKB.
        unit: Of its values; empty where there is none.
        may_be_null: Whether a row may have no value.
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
    """Describe the column of a statistic of another raster (version 1.1); tables have it on request."""
    if column.statistic == "count":
        return Column(column.name, "int64", "pixels")
    return Column(column.name, "float64", "its raster's", may_be_null=True)


def arrow_schema(statistics: Iterable[ZonalColumn] = ()) -> pa.Schema:
    """Make the Arrow schema of the columns.

    Args:
        statistics: Statistics of other rasters: their columns stand before the geometry.
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
    """Refuse a table that a reader of this version may misread.

    Args:
        version: What the file's metadata says.
        where: The file, for the message.

    Raises:
        InputError: If there is no version, or its first number is another.
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
