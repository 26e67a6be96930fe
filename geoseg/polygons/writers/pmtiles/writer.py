"""Write PMTiles: a pyramid of vector tiles in one file, for web maps without a tile server.

Every tile that a polygon touches holds a piece of it, clipped a little beyond the tile's border and rounded
to the tile's grid. The tiles are a picture of the table, not a copy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.errors import SettingsError
from geoseg.files import scratch_file
from geoseg.polygons.table.rows import Polygons
from geoseg.polygons.table.schema import GEOMETRY, LAYER
from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.writers.arrow import as_metadata
from geoseg.polygons.writers.earth import MERCATOR_SIDE, TURN, is_across, lonlat_bounds, zoom_range
from geoseg.polygons.writers.pmtiles.levels import Attributes, Level
from geoseg.polygons.writers.pmtiles.pieces import (
    COARSE,
    TilePieces,
    TilePolygons,
    cut_into_tiles,
    without_small,
)
from geoseg.polygons.writers.pmtiles.vector_tile import TILE_UNITS
from geoseg.system.cpu import in_order

if TYPE_CHECKING:
    import pyarrow as pa
    import pyproj

Bounds = tuple[float, float, float, float]
"""West, south, east and north of a map in degrees; east is beyond 180 across the antimeridian."""


@dataclass(frozen=True, slots=True)
class PMTiles:
    """Writes PMTiles 3 with Mapbox Vector Tiles; zoom levels follow from the map's extent and pixel size."""

    name: str = "PMTiles"
    suffix: str = ".pmtiles"
    driver: str | None = None
    on_earth: bool = True

    def write(self, table: PolygonTable, path: Path) -> None:
        """Write all rows into the tiles they touch; the provenance is JSON in the description.

        Raises:
            SettingsError: If there are no rows, or tiles cannot show them.
        """
        _check_drawable(table)
        lowest, highest = zoom_range(table)
        levels = [Level(zoom, path.parent) for zoom in range(lowest, highest + 1)]
        attributes = Attributes(path.parent)
        bounds = lonlat_bounds(table)
        for columns, found in _cut_all(table, range(lowest, highest + 1), bounds):
            before = len(attributes)
            attributes.add(columns)
            for level, pieces in zip(levels, found, strict=True):
                level.add(pieces, before)
        tiles = (tile for level in levels for tile in level.tiles(LAYER, attributes))
        write_archive(path, tiles, bounds, _metadata(table, (lowest, highest), bounds))


PMTILES = PMTiles()


def write_archive(
    path: Path,
    tiles: Iterable[tuple[int, bytes]],
    bounds: Bounds,
    metadata: Mapping[str, Any],
) -> None:
    """Write an archive of vector tiles.

    Args:
        path: A file that does not exist yet.
        tiles: Id and gzip-compressed content of each tile, by ascending id.
        bounds: West, south, east and north of the map, in degrees.
        metadata: JSON metadata of the archive.
    """
    from pmtiles.tile import Compression, TileType
    from pmtiles.writer import Writer

    west, south, east, north = (round(side * 10**7) for side in _without_wrap(bounds))
    middle = math.remainder((bounds[0] + bounds[2]) / 2, TURN)
    header = {
        "tile_type": TileType.MVT,
        "tile_compression": Compression.GZIP,
        "min_lon_e7": west,
        "min_lat_e7": south,
        "max_lon_e7": east,
        "max_lat_e7": north,
        "center_lon_e7": round(middle * 10**7) if is_across(bounds) else (west + east) // 2,
        "center_lat_e7": (south + north) // 2,
    }
    with path.open("xb") as file:
        archive = Writer(file)
        archive.tile_f.close()
        archive.tile_f = scratch_file(path.parent)  # not in the system's folder, which may be in memory
        for number, content in tiles:
            archive.write_tile(number, content)
        archive.finalize(header, metadata)


def _cut_all(
    table: PolygonTable, zooms: range, bounds: Bounds
) -> Iterator[tuple[pa.RecordBatch, list[TilePieces]]]:
    """Yield batches of rows, in order, with their pieces on every zoom level."""
    import pyarrow as pa
    import pyproj

    to = pyproj.CRS.from_user_input(table.crs)
    names = [name for name in table.schema.names if name != GEOMETRY]
    around, middle = is_across(bounds), 0.5 + (bounds[0] + bounds[2]) / 2 / TURN

    def work(portion: Polygons) -> tuple[pa.RecordBatch, list[TilePieces]]:
        columns = [_without_days(column) for column in table.attributes(portion)]
        found = _on_mercator(portion, pyproj.Transformer.from_crs(to, "EPSG:3857", always_xy=True))
        if around:
            found.points[:, 0] += np.rint(middle - found.points[:, 0])
        pieces = []
        for zoom in zooms:
            scaled = replace(found, points=found.points * (TILE_UNITS * 2**zoom))
            if zoom == zooms[-1]:
                pieces.append(cut_into_tiles(scaled, zoom, around=around))
            else:
                pieces.append(cut_into_tiles(without_small(scaled), zoom, COARSE, around=around))
        return pa.record_batch(columns, names=names), pieces

    return in_order(work, table.polygons.batches())


def _on_mercator(portion: Polygons, to: pyproj.Transformer) -> TilePolygons:
    """Project polygons to Web Mercator: from 0 to 1 across the Earth from the west, and from the north."""
    points, rings, shapes = portion.coordinates()
    x, y = to.transform(points[:, 0], points[:, 1])
    points[:, 0], points[:, 1] = 0.5 + x / MERCATOR_SIDE, 0.5 - y / MERCATOR_SIDE
    return TilePolygons(np.arange(len(portion)), points, rings, shapes)


def _without_days(column: pa.Array) -> pa.Array:
    """Write days as text: vector tiles have no days."""
    import pyarrow as pa

    return column.cast(pa.string()) if pa.types.is_date32(column.type) else column


def _without_wrap(bounds: Bounds) -> Bounds:
    """Return bounds as TileJSON has them: all around the Earth where they cross the antimeridian."""
    return (-TURN / 2, bounds[1], TURN / 2, bounds[3]) if is_across(bounds) else bounds


def _metadata(table: PolygonTable, zooms: tuple[int, int], bounds: Bounds) -> dict[str, Any]:
    """Describe the file as TileJSON 3 and the PMTiles specification name things."""
    import pyarrow as pa

    def kind(field: pa.Field) -> str:
        if pa.types.is_boolean(field.type):
            return "Boolean"
        numbers = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        return "Number" if numbers else "String"

    low, high = zooms
    fields = {field.name: kind(field) for field in table.schema if field.name != GEOMETRY}
    return {
        "name": LAYER,
        "description": json.dumps(as_metadata(table.provenance)),
        "type": "overlay",
        "format": "pbf",
        "minzoom": str(low),
        "maxzoom": str(high),
        "bounds": ",".join(f"{side:.7f}" for side in _without_wrap(bounds)),
        "vector_layers": [
            {"id": LAYER, "description": "", "minzoom": low, "maxzoom": high, "fields": fields}
        ],
    }


def _check_drawable(table: PolygonTable) -> None:
    if len(table) == 0:
        raise SettingsError(
            "no polygon is left to draw, and PMTiles cannot be empty; loosen the filters, or write "
            "another format"
        )
