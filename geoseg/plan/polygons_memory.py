"""What tracing, simplifying and writing polygons takes of memory, and how it is kept below ``--max-memory``.

Polygons wait on disk, so what is needed grows with neither the map nor the number of its polygons. What is
held: the blocks that are being traced, one row of blocks' borders, batches on their way to the file, and the
largest polygon, which a file's row has to hold whole. Simpler borders are the exception: they are all held.
Figures were measured with ``tests/benchmarks/polygonize.py`` and rounded up.
"""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.errors import SettingsError
from geoseg.polygons.borders.simplify import Borders
from geoseg.polygons.rasters import resolve_block_size
from geoseg.polygons.table.rows import Polygons
from geoseg.polygons.table.stored import StoredPolygons
from geoseg.system.cpu import cores
from geoseg.system.memory import CACHE_SHARE, default_limit, gdal_cache, parse_memory, show_memory

BASE = 230_000_000
"""The process with its libraries."""
WRITING = 350_000_000
"""Batches on their way to a file, with what a format keeps."""
PIXEL, PIXEL_BAND = 90, 3
"""Bytes a pixel of every block that is traced; and for each raster read with it."""
PIXEL_ROW = 4
"""Bytes a pixel of a row of blocks: borders that wait, on maps where most polygons are larger than blocks."""
VERTEX = 180
"""Bytes a vertex of the largest polygon, while it is put together and written."""
SIMPLER_VERTEX, SIMPLER_ROUND, SIMPLER_POLYGON = 24, 8, 300
"""Bytes a vertex of all, for each round of smoothing, and a polygon, while borders are made simpler."""
_BLOCKS = (1024, 768, 512, 384, 256)


@dataclass(frozen=True, slots=True)
class TracePlan:
    """How a map is traced.

    Attributes:
        block_size: Side of a block in pixels.
        workers: Blocks at once.
        limit: Bytes that the process may take.
        fixed: Bytes that it takes whatever the map; None for a process that does nothing else.
    """

    block_size: int
    workers: int
    limit: int
    fixed: int | None = None

    def check_largest(self, vertices: int) -> None:
        """Refuse to put together a polygon that does not fit into memory.

        Raises:
            SettingsError: Naming what would do.
        """
        needed = self._fixed() + VERTEX * vertices
        if needed > self.limit:
            raise SettingsError(
                f"a polygon of this map has {vertices:,} vertices, and a row of a file holds it whole: that "
                f"takes about {show_memory(needed)} of memory; give {_asking_for(needed)}, or clean the map "
                "up first (--sieve, --smooth)"
            )

    def check_borders(self, polygons: Polygons | StoredPolygons, borders: Borders | None) -> None:
        """Refuse simpler borders that do not fit into memory: those of the whole map are held at once.

        Raises:
            SettingsError: Naming what would do.
        """
        if borders is None:
            return
        vertex = SIMPLER_VERTEX + SIMPLER_ROUND * borders.rounds
        needed = self._fixed() + vertex * polygons.vertices + SIMPLER_POLYGON * len(polygons)
        if needed > self.limit:
            raise SettingsError(
                f"--simplify and --smooth-borders hold all {polygons.vertices:,} vertices of the map, which "
                f"takes about {show_memory(needed)} of memory; give {_asking_for(needed)}, clean the map up "
                "first (--sieve, --smooth), or do without"
            )

    def _fixed(self) -> int:
        return _own() if self.fixed is None else self.fixed


def plan_tracing(
    max_memory: str | int | None,
    block_size: int | None,
    workers: int | None,
    *,
    width: int,
    bands: int,
    fixed: int | None = None,
) -> TracePlan:
    """Choose blocks and workers that fit.

    Args:
        max_memory: What the process may take: ``"4GB"`` or bytes; default half of what is free.
        block_size: Side of a block, where the user says it.
        workers: Blocks at once, where the user says it; else at most one a core.
        width: Columns of the map.
        bands: Rasters read with the class map: bands of confidence, probabilities and statistics.
        fixed: Bytes that the process takes whatever the map; None where it does nothing else.

    Raises:
        SettingsError: If nothing fits, naming the least that would; or a setting is wrong.
    """
    limit = default_limit() if max_memory is None else parse_memory(max_memory)
    if workers is not None and workers < 1:
        raise SettingsError(f"--workers must be at least 1, not {workers}")
    sizes = _BLOCKS if block_size is None else (resolve_block_size(block_size),)
    counts = range(cores(), 0, -1) if workers is None else (workers,)
    needed = {
        (size, count): (_own() if fixed is None else fixed)
        + max(WRITING, count * tracing_memory(size**2, bands) + PIXEL_ROW * width * size)
        for count in counts
        for size in sizes
    }
    for (size, count), bytes_ in needed.items():
        if bytes_ <= limit:
            return TracePlan(size, count, limit, fixed)
    least = min(needed.values())
    raise SettingsError(
        f"polygons of this map take at least {show_memory(least)} of memory, and "
        f"{'half of what is free' if max_memory is None else '--max-memory'} is {show_memory(limit)}; give "
        f"{_asking_for(least)}"
    )


def tracing_memory(pixels: int, bands: int) -> int:
    """Bytes that it takes to trace so many pixels at once.

    Args:
        pixels: Of a block.
        bands: Rasters read with the class map.
    """
    return pixels * (PIXEL + PIXEL_BAND * bands)


def _asking_for(needed: int) -> str:
    """The flag that gives so much, also where GDAL's cache, being a share of the limit, grows with it."""
    least = max(needed, int((needed - gdal_cache()) / (1 - 1 / CACHE_SHARE)))
    return f"--max-memory {-(-least // 10**7) / 100:.2f}GB"


def _own() -> int:
    """What a process takes that does nothing else."""
    return BASE + gdal_cache()
