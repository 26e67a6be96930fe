"""What is known from elsewhere: yields of some fields, and the district of each."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pandas as pd

from geoseg.errors import InputError
from yields.matching import overlaps


def known_yields(
    fields: geopandas.GeoDataFrame,
    path: Path,
    column: str,
    *,
    id_column: str = "id",
    least_share: float = 0.5,
) -> tuple[pd.Series, int]:
    """Yields of fields from a table or from geometries.

    A CSV is joined by id. Of points, a field takes the mean of those inside it. Of polygons, it takes the
    mean of those that overlap it, weighted by shared area, if together they cover at least ``least_share`` of
    it.

    Args:
        fields: With ``id``.
        path: CSV, GeoPackage, or anything geopandas reads.
        column: The column with the yields.
        id_column: A CSV's column with the ids of the reference map.
        least_share: See above.

    Returns:
        Yields indexed as the fields, NaN where unknown; and how many rows of the file fit no field.

    Raises:
        InputError: If the file cannot be read or lacks a column, or gives one id two yields.
    """
    if path.suffix.lower() == ".csv":
        return _by_id(fields, path, column, id_column)
    places = read_places(path, column).to_crs(fields.crs)
    places = places[places[column].notna()]
    amounts = pd.to_numeric(places[column], errors="raise").to_numpy(float)
    if (places.geom_type == "Point").all():
        pairs = geopandas.sjoin(
            places[["geometry"]].reset_index(drop=True), fields[["geometry"]], predicate="within"
        )
        found = pd.Series(amounts[pairs.index]).groupby(pairs["index_right"].to_numpy()).mean()
        return found.reindex(fields.index), len(places) - pairs.index.nunique()
    rows, others, shares = overlaps(fields.geometry, places.geometry)
    total = np.bincount(rows, shares, len(fields))
    sums = np.bincount(rows, shares * amounts[others], len(fields))
    enough = total >= least_share
    values = np.where(enough, sums / np.where(enough, total, 1), np.nan)
    used = np.unique(others[enough[rows]])
    return pd.Series(values, fields.index), len(places) - len(used)


def _by_id(fields: geopandas.GeoDataFrame, path: Path, column: str, id_column: str) -> tuple[pd.Series, int]:
    try:
        table = pd.read_csv(path, dtype={id_column: str})
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}") from error
    _need(table, path, id_column, column)
    table = table[table[column].notna()]
    twice = table[id_column][table[id_column].duplicated()]
    if len(twice):
        raise InputError(f"{path} gives the field {twice.iloc[0]} more than one yield")
    values = pd.to_numeric(table.set_index(id_column)[column], errors="coerce")
    if values.isna().any():
        raise InputError(f"{path}: the yield of {values.index[values.isna()][0]} is no number")
    found = fields["id"].map(values)
    return found, int((~values.index.isin(fields["id"])).sum())


def read_places(path: Path, *columns: str) -> geopandas.GeoDataFrame:
    """Geometries with columns.

    Raises:
        InputError: If the file cannot be read or lacks a column or a CRS.
    """
    try:
        read = geopandas.read_parquet if path.suffix.lower() == ".parquet" else geopandas.read_file
        places = read(path)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    _need(places, path, *columns)
    if places.crs is None:
        raise InputError(f"{path} has no CRS, so it cannot be laid over the fields")
    return places


def _need(table: pd.DataFrame, path: Path, *columns: str) -> None:
    for name in columns:
        if name not in table.columns:
            raise InputError(f"{path} has no column {name}; it has {', '.join(map(str, table.columns))}")


def districts_of(
    fields: geopandas.GeoDataFrame, path: Path, column: str
) -> tuple[pd.Series, geopandas.GeoSeries]:
    """The district that holds a point inside each field (ties: the first in the file).

    Returns:
        Names indexed as the fields, null outside all districts; and the districts' geometries by name.

    Raises:
        InputError: If the file cannot be read or lacks the column.
    """
    places = read_places(path, column).to_crs(fields.crs)
    points = geopandas.GeoDataFrame(geometry=fields.representative_point(), index=fields.index)
    pairs = geopandas.sjoin(points, places[[column, "geometry"]].reset_index(drop=True), predicate="within")
    pairs = pairs.sort_values("index_right")
    names = pairs[column].astype(str).groupby(level=0).first().reindex(fields.index)
    return names, places.assign(name=places[column].astype(str)).dissolve("name").geometry


def blocks_of(fields: geopandas.GeoDataFrame, kilometres: float) -> tuple[pd.Series, geopandas.GeoSeries]:
    """Square blocks of ground in place of districts, named ``block ROW COLUMN`` from the north-west.

    Returns:
        As ``districts_of``; squares are laid out in the local UTM zone where the CRS is in degrees.
    """
    flat = fields.to_crs(fields.estimate_utm_crs()) if fields.crs.is_geographic else fields
    side = kilometres * 1000 / flat.crs.axis_info[0].unit_conversion_factor
    points = flat.representative_point()
    left, _, _, top = flat.total_bounds
    rows = ((top - points.y) // side).astype(int)
    columns = ((points.x - left) // side).astype(int)
    names = pd.Series(
        [f"block {row} {column}" for row, column in zip(rows, columns, strict=True)], fields.index
    )
    hulls = fields.assign(name=names).dissolve("name").geometry.convex_hull
    return names, hulls
