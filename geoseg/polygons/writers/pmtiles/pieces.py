"""Cut polygons into the tiles of one zoom level, and round them to the grid of the tiles.

Below the most detailed level, a polygon smaller than a *cell* of a few screen pixels is drawn as the cells
whose centres it holds, most often one or none. So every class keeps its share of the picture, as in an
overview of a raster, and a tile has a few thousand polygons at most. Holes of that size are filled, and the
polygons inside them are drawn on top. Some ground beside large polygons may stay empty.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.table.rows import boxes_of
from geoseg.polygons.writers.pmtiles.vector_tile import TILE_UNITS, encode_shapes
from geoseg.raster.ragged import group_starts, index_ranges

MARGIN = 80
"""Tile units drawn beyond a tile's sides, so that outlines do not show where tiles meet."""
COARSE = 4
"""Tile units to which corners are rounded below the most detailed level: half a screen pixel."""
CELL = 32
"""Width of a cell in tile units: four pixels of a screen that shows a tile on 512 pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class TilePolygons:
    """Polygons as ragged arrays.

    Attributes:
        rows: Row of the table that each polygon belongs to, int64.
        points: Column and row, float64 (points, 2); rings are closed.
        rings: Offsets of the rings among the points.
        shapes: Offsets of the polygons among the rings.
    """

    rows: NDArray[np.int64]
    points: NDArray[np.float64]
    rings: NDArray[np.int64]
    shapes: NDArray[np.int64]

    def take(self, chosen: NDArray[np.int64]) -> TilePolygons:
        """Keep only the chosen polygons, in the order given."""
        counts = np.diff(self.shapes)[chosen]
        rings = index_ranges(self.shapes[chosen], counts)
        sizes = np.diff(self.rings)[rings]
        points = self.points.take(index_ranges(self.rings[rings], sizes), axis=0)
        return TilePolygons(self.rows[chosen], points, _ends(sizes), _ends(counts))

    def without_rings(self, chosen: NDArray[np.bool_]) -> TilePolygons:
        """Remove the chosen rings, except exteriors."""
        stay = ~chosen
        stay[self.shapes[:-1]] = True
        sizes, rings = np.diff(self.rings), np.flatnonzero(stay)
        points = self.points.take(index_ranges(self.rings[rings], sizes[rings]), axis=0)
        counts = np.add.reduceat(stay, self.shapes[:-1], dtype=np.int64)
        return TilePolygons(self.rows, points, _ends(sizes[rings]), _ends(counts))

    @property
    def boxes(self) -> NDArray[np.float64]:
        """Bounding boxes: least column and row, greatest column and row, float64 (shapes, 4)."""
        return boxes_of(self.points, self.rings[self.shapes])

    def as_geometries(self) -> NDArray[np.object_]:
        """Convert to shapely geometries."""
        import shapely

        kind = shapely.GeometryType.POLYGON
        made: NDArray[np.object_] = shapely.from_ragged_array(kind, self.points, (self.rings, self.shapes))
        return made

    @staticmethod
    def of(rows: NDArray[np.int64], geometries: NDArray[np.object_]) -> TilePolygons:
        """Collect the polygons among geometries and their parts."""
        import shapely

        parts, owner = shapely.get_parts(geometries, return_index=True)
        polygons = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(parts)
        if not polygons.any():
            none = np.zeros(1, dtype=np.int64)
            return TilePolygons(rows[:0], np.zeros((0, 2)), none, none)
        _, points, (rings, shapes) = shapely.to_ragged_array(parts[polygons])
        return TilePolygons(rows[owner[polygons]], points, rings.astype(np.int64), shapes.astype(np.int64))

    @staticmethod
    def join(parts: list[TilePolygons]) -> TilePolygons:
        """Concatenate several sets."""
        sizes = np.concatenate([np.diff(part.rings) for part in parts])
        counts = np.concatenate([np.diff(part.shapes) for part in parts])
        rows, points = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "points")
        )
        return TilePolygons(rows, points, _ends(sizes), _ends(counts))


@dataclass(frozen=True, slots=True, eq=False)
class TilePieces:
    """Encoded pieces of polygons, one per polygon and tile.

    Attributes:
        columns: Column of the tile of each piece, int64.
        lines: Row of the tile, int64.
        rows: Row of the table that the piece belongs to, int64.
        ends: Offsets of the pieces in ``content``, int64 (pieces + 1,).
        content: The encoded geometries.
    """

    columns: NDArray[np.int64]
    lines: NDArray[np.int64]
    rows: NDArray[np.int64]
    ends: NDArray[np.int64]
    content: NDArray[np.uint8]


def cut_into_tiles(found: TilePolygons, zoom: int, step: int = 1, *, around: bool = False) -> TilePieces:
    """Cut polygons at the sides of tiles.

    Args:
        found: Polygons in tile units of the level, rows from the north.
        zoom: The zoom level.
        step: Tile units to whose multiples corners are rounded.
        around: Whether columns go on beyond the antimeridian, in tiles of the other side of the map.
    """
    side = 2**zoom
    boxes = found.boxes
    least, most = (-side if around else 0, 0), (2 * side - 1 if around else side - 1, side - 1)
    low = np.clip(np.floor((boxes[:, :2] - MARGIN) / TILE_UNITS), least, most).astype(np.int64)
    high = np.clip(np.floor((boxes[:, 2:] + MARGIN) / TILE_UNITS), least, most).astype(np.int64)
    alone = (low == high).all(axis=1)
    whole = np.flatnonzero(alone)
    parts, tiles = [found.take(whole)], [low[whole]]
    for part, tile in _cut(found.take(np.flatnonzero(~alone)), low[~alone], high[~alone]):
        parts.append(part)
        tiles.append(np.broadcast_to(np.array(tile, dtype=np.int64), (part.rows.size, 2)))
    written = _written(TilePolygons.join(parts), np.concatenate(tiles), step)
    return replace(written, columns=written.columns % side) if around else written


def without_small(found: TilePolygons) -> TilePolygons:
    """Replace small polygons by cells and fill small holes, for all but the most detailed level.

    Args:
        found: Polygons in tile units of the level.
    """
    of_rings = _doubled_areas(found.points, found.rings) / 2
    small = np.abs(np.add.reduceat(of_rings, found.shapes[:-1])) < CELL**2
    large = found.without_rings(np.abs(of_rings) < CELL**2).take(np.flatnonzero(~small))
    return TilePolygons.join([large, _as_cells(found.take(np.flatnonzero(small)))])


def _as_cells(found: TilePolygons) -> TilePolygons:
    """Replace polygons by the cells whose centres they hold."""
    if found.rows.size == 0:
        return found
    first = np.ceil(found.boxes[:, :2] / CELL - 0.5).astype(np.int64)
    counts = np.maximum(np.ceil(found.boxes[:, 2:] / CELL - 0.5).astype(np.int64) - first, 0)
    some = np.flatnonzero(counts.prod(axis=1))
    lines = np.repeat(some, counts[some, 1])
    line = index_ranges(first[some, 1], counts[some, 1])
    shape = np.repeat(lines, counts[lines, 0])
    cells = np.stack(
        [index_ranges(first[lines, 0], counts[lines, 0]), np.repeat(line, counts[lines, 0])], axis=1
    )
    inside = _inside(found, shape, (cells + 0.5) * CELL)
    shape, cells = shape[inside], cells[inside]
    corners = np.array([[0, 0], [0, 1], [1, 1], [1, 0], [0, 0]])
    points = ((cells[:, None] + corners[None]) * float(CELL)).reshape(-1, 2)
    ends = np.arange(shape.size + 1)
    return TilePolygons(found.rows[shape], points, 5 * ends, ends)


def _inside(found: TilePolygons, shape: NDArray[np.int64], places: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell whether points lie in polygons, by counting the sides that a ray to the right crosses.

    Args:
        found: Polygons.
        shape: Index of the polygon to test for each point.
        places: The points, float64 (places, 2).
    """
    if shape.size == 0:
        return np.zeros(0, dtype=bool)
    begins = found.rings[found.shapes]
    sizes = np.diff(begins)[shape]
    tail = index_ranges(begins[shape], sizes)
    sides = np.ones(len(found.points), dtype=bool)
    sides[found.rings[1:] - 1] = False  # no side follows the last point of a ring
    head = np.minimum(tail + 1, len(found.points) - 1)
    x, y = np.repeat(places, sizes, axis=0).T
    (x0, y0), (x1, y1) = (found.points.take(at, axis=0).T for at in (tail, head))
    across = sides[tail] & ((y0 > y) != (y1 > y))
    slope = np.divide(x1 - x0, y1 - y0, out=np.zeros_like(x), where=across)
    across &= x < x0 + (y - y0) * slope
    return np.asarray(np.add.reduceat(across, group_starts(sizes), dtype=np.int64) % 2 == 1)


def _cut(
    found: TilePolygons, low: NDArray[np.int64], high: NDArray[np.int64]
) -> list[tuple[TilePolygons, tuple[int, int]]]:
    """Cut polygons first into rows of tiles, then into tiles, so that fewer cuts see a large polygon."""
    import shapely

    pieces = []
    if found.rows.size == 0:
        return []
    geometries = found.as_geometries()
    left, right = found.boxes[:, 0].min() - 1, found.boxes[:, 2].max() + 1
    for line in range(int(low[:, 1].min()), int(high[:, 1].max()) + 1):
        here = np.flatnonzero((low[:, 1] <= line) & (line <= high[:, 1]))
        top, bottom = line * TILE_UNITS - MARGIN, (line + 1) * TILE_UNITS + MARGIN
        strip = shapely.clip_by_rect(geometries[here], left, top, right, bottom)
        if here.size == 0:
            continue
        for column in range(int(low[here, 0].min()), int(high[here, 0].max()) + 1):
            inside = (low[here, 0] <= column) & (column <= high[here, 0])
            sides = column * TILE_UNITS - MARGIN, (column + 1) * TILE_UNITS + MARGIN
            cut = shapely.clip_by_rect(strip[inside], sides[0], top, sides[1], bottom)
            pieces.append((TilePolygons.of(found.rows[here[inside]], cut), (column, line)))
    return pieces


def _written(found: TilePolygons, tiles: NDArray[np.int64], step: int) -> TilePieces:
    """Round polygons to the grid of their tiles, drop those without area, and encode the others."""
    counts, sizes = np.diff(found.shapes), np.diff(found.rings)
    tile_of_ring = np.repeat(tiles, counts, axis=0)
    points = np.rint(found.points / step).astype(np.int64) * step
    points -= np.repeat(tile_of_ring * TILE_UNITS, sizes, axis=0)
    areas = _doubled_areas(points, found.rings)
    first, last = found.rings[:-1], found.rings[1:] - 1
    exterior = np.zeros(areas.size, dtype=bool)
    exterior[found.shapes[:-1]] = True
    shape = np.repeat(np.arange(counts.size), counts)
    good = (areas != 0) & (areas[found.shapes[:-1]] != 0)[shape]
    kept = np.ones(len(points), dtype=bool)
    kept[:-1] = (points[1:] != points[:-1]).any(axis=1)
    kept[last] = False  # rings are not closed in tiles
    kept &= np.repeat(good, sizes)
    counted = np.add.reduceat(kept, first, dtype=np.int64) if first.size else first
    # Exteriors must run clockwise on screen and holes counter-clockwise: doubled area positive and negative.
    order = np.flatnonzero(kept)
    new_sizes = counted[good]
    starts = group_starts(new_sizes)
    turned = ((areas > 0) != exterior)[good]
    mirrored = np.repeat(2 * starts + new_sizes - 1, new_sizes) - np.arange(order.size)
    order = order[np.where(np.repeat(turned, new_sizes), mirrored, np.arange(order.size))]
    left = np.add.reduceat(good, found.shapes[:-1], dtype=np.int64) if counts.size else counts
    some = left > 0
    ends, content = encode_shapes(points.take(order, axis=0), _ends(new_sizes), _ends(left[some]))
    return TilePieces(tiles[some, 0], tiles[some, 1], found.rows[some], ends, content)


def _doubled_areas(points: NDArray[Any], rings: NDArray[np.int64]) -> NDArray[Any]:
    """Compute twice the signed area of closed rings by the shoelace formula, exactly."""
    starts = rings[:-1]
    if starts.size == 0:
        return np.zeros(0, dtype=points.dtype)
    x, y = (points - np.repeat(points[starts], np.diff(rings), axis=0)).T
    cross = np.zeros(x.size, dtype=points.dtype)
    cross[:-1] = x[:-1] * y[1:] - x[1:] * y[:-1]
    cross[rings[1:] - 1] = 0
    return np.add.reduceat(cross, starts)


def _ends(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.append(0, np.cumsum(sizes))
