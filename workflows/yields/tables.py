"""Polygon tables of one season, read by the contract of docs/polygons.md: one map a date."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import geopandas
import pandas as pd
import pyarrow.parquet as pq
import pyogrio

from geoseg.errors import InputError
from geoseg.polygons.table.schema import COLUMNS, LAYER, VERSION_KEY, check_version

NEEDED = tuple(column.name for column in COLUMNS)


@dataclass(frozen=True)
class DateMap:
    """The polygons of one date.

    Attributes:
        date: Acquisition.
        polygons: The columns of the contract, ordered by file and row; the index is 0, 1, 2 ...
    """

    date: date
    polygons: geopandas.GeoDataFrame


def read_maps(files: Iterable[tuple[date | None, Path]]) -> list[DateMap]:
    """Read tables and put those of one date together: they are one map, in parts or class by class.

    Args:
        files: (date, file); a date of None is read from the table's ``date`` column.

    Returns:
        Maps by ascending date, in the CRS of the first file.

    Raises:
        InputError: If a file is no such table, has no date or no CRS, or two files contradict each other.
    """
    parts: dict[date, list[geopandas.GeoDataFrame]] = defaultdict(list)
    crs = None
    for day, path in files:
        frame = read_table(path)
        crs = crs or frame.crs
        parts[day or date_of(frame, path)].append(frame.to_crs(crs))
    maps = [DateMap(day, pd.concat(parts[day], ignore_index=True)) for day in sorted(parts)]
    for one in maps:
        twice = one.polygons["id"][one.polygons["id"].duplicated()]
        if len(twice):
            raise InputError(
                f"two polygons of {one.date} have the id {twice.iloc[0]}: files of one date must be parts of "
                "one map; give files of different maps dates of their own (DATE=FILE)"
            )
    legend(maps)
    return maps


def read_table(path: Path) -> geopandas.GeoDataFrame:
    """Read one table of the contract's major version, whatever its format.

    Raises:
        InputError: If it cannot be read, has another version or misses a column or a CRS.
    """
    try:
        if path.suffix.lower() == ".parquet":
            metadata = pq.read_schema(path).metadata or {}
            check_version(_text(metadata.get(VERSION_KEY.encode())), str(path))
            frame = geopandas.read_parquet(path)
        else:
            metadata = pyogrio.read_info(path, layer=LAYER).get("layer_metadata") or {}
            check_version(metadata.get(VERSION_KEY), str(path))
            frame = geopandas.read_file(path, layer=LAYER)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path} cannot be read as polygons of geoseg: {' '.join(str(error).split())}"
        ) from error
    missing = [name for name in NEEDED if name not in frame.columns]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}, which the polygon table of geoseg has")
    if frame.crs is None:
        raise InputError(f"{path} has no CRS, so its polygons cannot be laid over scenes and districts")
    frame["date"] = pd.to_datetime(frame["date"]).dt.date
    return frame[list(NEEDED)]


def date_of(frame: geopandas.GeoDataFrame, path: Path) -> date:
    """The one date in a table.

    Raises:
        InputError: If there is none, or more than one.
    """
    days = frame["date"].dropna().unique()
    if len(days) != 1:
        found = "no date" if not len(days) else f"{len(days)} dates"
        raise InputError(f"{path} has {found} in its column date; say it as YYYY-MM-DD={path}")
    return days[0]


def legend(maps: Iterable[DateMap]) -> dict[int, str]:
    """Names of all classes by id.

    Raises:
        InputError: If an id has two names: such maps come from different models.
    """
    names: dict[int, str] = {}
    for one in maps:
        pairs = one.polygons[["class_id", "class_name"]].drop_duplicates()
        for number, name in pairs.itertuples(index=False):
            if names.setdefault(int(number), name) != name:
                raise InputError(
                    f"class {number} is called {names[int(number)]} on one date and {name} on {one.date}: "
                    "maps of one season must come from models with the same classes"
                )
    return dict(sorted(names.items()))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
