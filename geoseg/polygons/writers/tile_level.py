"""What lies in the tiles of a zoom level, in temporary files until all of it is known."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.groups import spread
from geoseg.polygons.table.rows import scratch_file
from geoseg.polygons.table.wkb import binary_values
from geoseg.polygons.writers.tile_archive import compress, tile_ids
from geoseg.polygons.writers.tile_pieces import Pieces
from geoseg.polygons.writers.vector_tile import encode_tile
from geoseg.system.threads import in_order

if TYPE_CHECKING:
    import pyarrow as pa


class Attributes:
    """The columns of all rows, in a nameless temporary file.

    Args:
        folder: Where it is made.
    """

    def __init__(self, folder: Path) -> None:
        self._file = scratch_file(folder)
        self._writer: Any = None
        self._starts = [0]

    def __len__(self) -> int:
        return self._starts[-1]

    def add(self, batch: pa.RecordBatch) -> None:
        """Put the next rows aside."""
        import pyarrow as pa

        if self._writer is None:
            self._writer = pa.ipc.new_file(pa.PythonFile(self._file, mode="w"), batch.schema)
        self._writer.write_batch(batch)
        self._starts.append(len(self) + batch.num_rows)

    def seal(self) -> None:
        """No rows come any more; they can be read."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._file.flush()

    def take(self, rows: NDArray[np.integer]) -> pa.Table:
        """Some rows, given in ascending order."""
        import pyarrow as pa

        # Mapped anew each time: what was read of the file before counts no longer as memory of the process.
        reader = pa.ipc.open_file(pa.py_buffer(np.memmap(self._file, dtype=np.uint8, mode="r")))
        edges = np.searchsorted(rows, self._starts)
        parts = [
            reader.get_batch(number).take(pa.array(rows[edges[number] : edges[number + 1]] - start))
            for number, start in enumerate(self._starts[:-1])
            if edges[number + 1] > edges[number]
        ]
        return pa.Table.from_batches(parts)


class Level:
    """The tiles of a zoom level: their content on disk, some numbers a piece in memory.

    Args:
        zoom: The level.
        folder: Where the temporary file is made.
    """

    def __init__(self, zoom: int, folder: Path) -> None:
        self._zoom = zoom
        self._file = scratch_file(folder)
        self._end = 0
        self._tiles: list[NDArray[np.int64]] = []
        self._rows: list[NDArray[np.int32]] = []
        self._starts: list[NDArray[np.int64]] = []
        self._sizes: list[NDArray[np.int32]] = []

    def add(self, pieces: Pieces, before: int) -> None:
        """Put pieces aside.

        Args:
            pieces: Of the next polygons.
            before: Rows of the table before the first of these.
        """
        self._file.write(pieces.content.data)
        self._tiles.append(tile_ids(self._zoom, pieces.columns, pieces.lines))
        self._rows.append((pieces.rows + before).astype(np.int32))
        self._starts.append(self._end + pieces.ends[:-1])
        self._sizes.append(np.diff(pieces.ends).astype(np.int32))
        self._end += int(pieces.ends[-1])

    def write(
        self, layer: str, attributes: Attributes, tiles: IO[bytes]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Append all tiles to a file, in the order of their numbers, each compressed; the level is used up.

        Args:
            layer: Name of their layer.
            attributes: The columns of all rows.
            tiles: The file.

        Returns:
            Number and size of each tile.
        """
        attributes.seal()
        tile, rows = np.concatenate(self._tiles), np.concatenate(self._rows)
        starts, sizes = np.concatenate(self._starts), np.concatenate(self._sizes)
        self._tiles, self._rows, self._starts, self._sizes = [], [], [], []
        if tile.size == 0:
            return tile, sizes.astype(np.int64)
        order = np.lexsort((rows, tile))
        ids, first = np.unique(tile[order], return_index=True)
        self._file.flush()

        def work(pieces: NDArray[np.int64]) -> bytes:
            mine = sizes[pieces].astype(np.int64)
            content = np.memmap(self._file, dtype=np.uint8, mode="r")
            shapes = binary_values(np.append(0, np.cumsum(mine)), content.take(spread(starts[pieces], mine)))
            return compress(encode_tile(layer, attributes.take(rows[pieces]), shapes))

        written = []
        for made in in_order(work, np.split(order, first[1:])):
            tiles.write(made)
            written.append(len(made))
        return ids, np.array(written, dtype=np.int64)
