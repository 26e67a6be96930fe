"""Vector formats that a table of polygons is written to: one module a format, one protocol."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from geoseg.errors import OutputError, RunError
from geoseg.polygons.table import PolygonTable
from geoseg.polygons.writers.flatgeobuf import FlatGeobuf
from geoseg.polygons.writers.geopackage import GeoPackage
from geoseg.polygons.writers.geoparquet import GeoParquet


class PolygonWriter(Protocol):
    """Writes a table to one file. Equal tables give equal content."""

    @property
    def name(self) -> str:
        """What people call the format."""

    @property
    def suffix(self) -> str:
        """Ending of its files, with the dot."""

    def write(self, table: PolygonTable, path: Path) -> None:
        """Write all rows, with the provenance once in the file's metadata.

        Args:
            table: The rows.
            path: A file that does not exist yet.
        """


WRITERS: tuple[PolygonWriter, ...] = (GeoPackage(), FlatGeobuf(), GeoParquet())
SUFFIXES = tuple(writer.suffix for writer in WRITERS)


def writer_for(path: Path) -> PolygonWriter:
    """The writer of the format that a file name ends in.

    Raises:
        OutputError: If no writer has that ending.
    """
    for writer in WRITERS:
        if path.suffix.lower() == writer.suffix:
            return writer
    known = ", ".join(f"{writer.suffix} ({writer.name})" for writer in WRITERS)
    raise OutputError(f"{path}: polygons are written to {known}; give a name with one of these endings")


def stale_sidecars(path: Path) -> tuple[Path, ...]:
    """Files beside a GeoPackage that SQLite would take for unfinished writes to it."""
    return tuple(path.with_name(path.name + ending) for ending in ("-wal", "-shm", "-journal"))


def staged_path(path: Path) -> Path:
    """A hidden name beside ``path``, with the same ending, for a file that is not complete yet."""
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


def stage_polygons(table: PolygonTable, path: Path) -> Path:
    """Write a table to a hidden file beside the one it is to become.

    Args:
        table: The rows.
        path: The final name; its ending says the format.

    Returns:
        The complete hidden file; ``publish_polygons`` gives it its name.

    Raises:
        OutputError: If no format has that ending.
        RunError: If writing failed; nothing is left behind.
    """
    writer = writer_for(path)
    staged = staged_path(path)
    discard_polygons(staged)
    try:
        writer.write(table, staged)
    except BaseException as error:
        discard_polygons(staged)
        if isinstance(error, (OSError, RuntimeError)):
            raise RunError(f"{path} could not be written: {error}") from error
        raise
    return staged


def publish_polygons(staged: Path, path: Path) -> None:
    """Give a complete file its final name, after removing stale sidecars of the file it replaces."""
    for stale in stale_sidecars(path):
        stale.unlink(missing_ok=True)
    os.replace(staged, path)


def discard_polygons(staged: Path) -> None:
    """Remove a hidden file and what SQLite left beside it."""
    for left in (staged, *stale_sidecars(staged)):
        left.unlink(missing_ok=True)


def write_polygons(table: PolygonTable, path: Path) -> None:
    """Write a table in the format its name ends in; the file appears when it is complete.

    Args:
        table: The rows.
        path: The file; replaced if it exists.

    Raises:
        OutputError: If no format has that ending.
        RunError: If writing failed; ``path`` is as it was.
    """
    publish_polygons(stage_polygons(table, path), path)
