"""Collect the content of all tiles of a zoom level in temporary files, until every polygon was added."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.files import scratch_file
from geoseg.polygons.table.wkb import binary_values
from geoseg.polygons.writers.pmtiles.pieces import TilePieces
from geoseg.polygons.writers.pmtiles.vector_tile import encode_tile
from geoseg.raster.ragged import index_ranges
from geoseg.system.cpu import in_order

if TYPE_CHECKING:
    import pyarrow as pa


class Attributes:
    """The columns of all rows, in a temporary file.

    Args:
        folder: Folder for the file.
    """

    def __init__(self, folder: Path) -> None:
        self._file = scratch_file(folder)
        self._writer: Any = None
        self._starts = [0]

    def __len__(self) -> int:
        return self._starts[-1]

    def add(self, batch: pa.RecordBatch) -> None:
        """Add the next rows."""
        import pyarrow as pa

        if self._writer is None:
            self._writer = pa.ipc.new_file(pa.PythonFile(self._file, mode="w"), batch.schema)
        self._writer.write_batch(batch)
        self._starts.append(len(self) + batch.num_rows)

    def seal(self) -> None:
        """End writing: the rows can be read now."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._file.flush()

    def take(self, rows: NDArray[np.integer]) -> pa.Table:
        """Read some rows, given in ascending order."""
        import pyarrow as pa

        # A new mapping each time, so that pages read before no longer count as memory of the process.
        reader = pa.ipc.open_file(pa.py_buffer(np.memmap(self._file, dtype=np.uint8, mode="r")))
        edges = np.searchsorted(rows, self._starts)
        parts = [
            reader.get_batch(number).take(pa.array(rows[edges[number] : edges[number + 1]] - start))
            for number, start in enumerate(self._starts[:-1])
            if edges[number + 1] > edges[number]
        ]
        return pa.Table.from_batches(parts)


class Level:
    """The tiles of a zoom level: content on disk, a few numbers per piece in memory.

    Args:
        zoom: The zoom level.
        folder: Folder for the temporary file.
    """

    def __init__(self, zoom: int, folder: Path) -> None:
        self._zoom = zoom
        self._file = scratch_file(folder)
        self._end = 0
        self._tiles: list[NDArray[np.int64]] = []
        self._rows: list[NDArray[np.int32]] = []
        self._starts: list[NDArray[np.int64]] = []
        self._sizes: list[NDArray[np.int32]] = []

    def add(self, pieces: TilePieces, before: int) -> None:
        """Add the pieces of the next polygons.

        Args:
            pieces: The pieces.
            before: Number of rows of the table before the first of these polygons.
        """
        self._file.write(pieces.content.data)
        self._tiles.append(pieces.lines << self._zoom | pieces.columns)
        self._rows.append((pieces.rows + before).astype(np.int32))
        self._starts.append(self._end + pieces.ends[:-1])
        self._sizes.append(np.diff(pieces.ends).astype(np.int32))
        self._end += int(pieces.ends[-1])

    def tiles(self, layer: str, attributes: Attributes) -> Iterator[tuple[int, bytes]]:
        """Yield the id and the compressed content of every tile, by ascending id; call once.

        Args:
            layer: Name of the layer.
            attributes: The columns of all rows.
        """
        from pmtiles.tile import zxy_to_tileid

        attributes.seal()
        tile, rows = np.concatenate(self._tiles), np.concatenate(self._rows)
        starts, sizes = np.concatenate(self._starts), np.concatenate(self._sizes)
        self._tiles, self._rows, self._starts, self._sizes = [], [], [], []
        if tile.size == 0:
            return
        order = np.lexsort((rows, tile))
        places, first = np.unique(tile[order], return_index=True)
        pieces = np.split(order, first[1:])
        side = 1 << self._zoom
        by_number = sorted(
            (zxy_to_tileid(self._zoom, place % side, place // side), at)
            for at, place in enumerate(places.tolist())
        )
        self._file.flush()

        def work(numbered: tuple[int, int]) -> tuple[int, bytes]:
            number, at = numbered
            mine = sizes[pieces[at]].astype(np.int64)
            content = np.memmap(self._file, dtype=np.uint8, mode="r")
            shapes = binary_values(
                np.append(0, np.cumsum(mine)), content.take(index_ranges(starts[pieces[at]], mine))
            )
            made = encode_tile(layer, attributes.take(rows[pieces[at]]), shapes)
            # No time stamp, so that equal tables give equal files.
            return number, gzip.compress(made, compresslevel=5, mtime=0)

        yield from in_order(work, by_number)
