"""Takes finished polygons as they come: all about them goes to temporary files, sorted run by run."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.groups import group_starts
from geoseg.polygons.table.rows import Columns, Polygons, scratch_file
from geoseg.polygons.table.stored import Records, StoredPolygons
from geoseg.polygons.trace.rings import Traced
from geoseg.polygons.trace.tally import Tally
from geoseg.raster.pixel_sizes import PixelSizes

if TYPE_CHECKING:
    from affine import Affine

RUN = 2**16
"""Polygons that are sorted and written at once."""


class PolygonStore:
    """Collects finished polygons in any order; a ``Sink`` of the tracer.

    Memory holds some thousands of polygons that wait to be sorted; the rest is in nameless temporary files.

    Args:
        class_ids: Class of each probability band, ascending, uint8; empty without probabilities.
        folder: Where the temporary files are made; None for the system's place.
    """

    def __init__(self, class_ids: NDArray[np.uint8], folder: Path | None = None) -> None:
        self._class_ids = class_ids
        self._folder = folder
        self._file = scratch_file(folder)
        self._sizes = scratch_file(folder)
        self._junctions: IO[bytes] | None = None
        self._records = Records(scratch_file(folder))
        self._parts: list[Columns] = []
        self._n_waiting = 0
        self._n_rings = 0
        self._n_vertices = 0

    def add(self, traced: Traced, tally: Tally) -> None:
        """Take polygons and, in the same order, what was added up over them."""
        first_ring = group_starts(traced.ring_counts)
        vertices = np.add.reduceat(traced.ring_sizes, first_ring)
        first_vertex = group_starts(vertices)
        self._parts.append(
            Columns(
                row=traced.vertices[first_vertex, 0],
                column=traced.vertices[first_vertex, 1],
                class_ids=tally.class_ids,
                pixels=tally.pixels,
                touches_edge=traced.touches_edge,
                runner_up=tally.runner_up(self._class_ids),
                rings=traced.ring_counts,
                first_ring=first_ring + self._n_rings,
                vertices=vertices,
                first_vertex=first_vertex + self._n_vertices,
                areas=tally.areas,
                perimeters=traced.perimeters,
                confidence=tally.confidence,
                confident=tally.confident,
                least=tally.least,
                zonal=tally.zonal,
                zonal_least=tally.zonal_least,
                zonal_most=tally.zonal_most,
            )
        )
        self._n_waiting += len(traced)
        self._n_rings += traced.ring_sizes.size
        self._n_vertices += len(traced.vertices)
        self._sizes.write(np.ascontiguousarray(traced.ring_sizes).data)
        self._file.write(np.ascontiguousarray(traced.vertices).data)
        if traced.junctions is not None:
            self._junctions = self._junctions or scratch_file(self._folder)
            self._junctions.write(np.ascontiguousarray(traced.junctions).data)
        if self._n_waiting >= RUN:
            self._sort()

    def finish(
        self, pixel_sizes: PixelSizes | None, transform: Affine | None, origin: tuple[int, int] = (0, 0)
    ) -> Polygons:
        """All polygons taken so far in memory, else as ``finish_on_disk``."""
        return self.finish_on_disk(pixel_sizes, transform, origin).load()

    def finish_on_disk(
        self,
        pixel_sizes: PixelSizes | None,
        transform: Affine | None,
        origin: tuple[int, int] = (0, 0),
        shape: tuple[int, int] | None = None,
    ) -> StoredPolygons:
        """All polygons taken so far, ordered by their first pixel; the store is used up.

        Args:
            pixel_sizes: Sizes of the raster's pixels, or None.
            transform: Pixel to CRS; None puts x = column, y = -row.
            origin: Row and column of the raster's first pixel on the scene's grid.
            shape: Rows and columns of the raster, or None.
        """
        from affine import Affine

        self._sort()
        for file in (self._file, self._sizes, self._junctions):
            if file is not None:
                file.flush()
        transform = transform if transform is not None else Affine(1, 0, 0, 0, -1, 0)
        return StoredPolygons(
            self._records,
            self._sizes,
            self._file,
            pixel_sizes,
            transform,
            origin,
            junctions=self._junctions,
            shape=shape,
        )

    def _sort(self) -> None:
        """Write the waiting polygons as one sorted run."""
        if self._n_waiting:
            self._records.add(Columns.join(self._parts).in_order())
            self._parts, self._n_waiting = [], 0
