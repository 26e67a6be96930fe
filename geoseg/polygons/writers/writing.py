"""Write a table of polygons in the format that a file's name ends in."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from geoseg.errors import OutputError, RunError
from geoseg.files import StagedFile, discard, publish
from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.writers import WRITERS
from geoseg.polygons.writers.crs import layer_crs
from geoseg.polygons.writers.earth import is_on_earth
from geoseg.polygons.writers.fiboa import Fiboa


class PolygonWriter(Protocol):
    """Writes a table to one file. Equal tables give equal content."""

    @property
    def name(self) -> str:
        """Name of the format, for messages."""

    @property
    def suffix(self) -> str:
        """File name ending, with the dot."""

    @property
    def driver(self) -> str | None:
        """Name of the GDAL driver that it needs, or None."""

    @property
    def on_earth(self) -> bool:
        """Whether the format needs a map whose CRS ties it to the Earth."""

    def write(self, table: PolygonTable, path: Path) -> None:
        """Write all rows, and the provenance once into the file's metadata.

        Args:
            table: The table.
            path: A file that does not exist yet.
        """


_FULL = 2**20
"""Free bytes below which a disk counts as full: writers request more than this at once."""


def writer_for(path: Path, *, fiboa: bool = False) -> PolygonWriter:
    """Choose the writer by the ending of a file name.

    Args:
        path: The file; its name without the ending becomes the name of fiboa's collection.
        fiboa: Whether to add fiboa's columns.

    Raises:
        OutputError: If no writer has that ending, or the format cannot hold fiboa's columns.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITERS:
        known = ", ".join(f"{writer.suffix} ({writer.name})" for writer in map(_writer_of, WRITERS))
        raise OutputError(f"{path}: polygons are written to {known}; give a name with one of these endings")
    if not fiboa:
        return _writer_of(suffix)
    made = Fiboa(path.stem)
    if suffix != made.suffix:
        raise OutputError(f"{path}: --fiboa goes into GeoParquet; give a name that ends in {made.suffix}")
    return made


def _writer_of(suffix: str) -> PolygonWriter:
    module, _, name = WRITERS[suffix].rpartition(".")
    writer: PolygonWriter = getattr(import_module(f"{__package__}.{module}"), name)
    return writer


def check_target(path: Path, crs: Any, *, fiboa: bool = False) -> PolygonWriter:
    """Check that a file can be written, before any work is done.

    Args:
        path: The file.
        crs: The map's CRS (anything pyproj understands), or None.
        fiboa: Whether to add fiboa's columns.

    Returns:
        The writer of the format.

    Raises:
        OutputError: If no format has that ending, the installed GDAL lacks it, or it cannot hold a map with
            this CRS.
    """
    import pyogrio

    writer = writer_for(path, fiboa=fiboa)
    if writer.driver is not None and "w" not in pyogrio.list_drivers().get(writer.driver, ""):
        raise OutputError(
            f"{path}: the GDAL that pyogrio uses cannot write {writer.name}; install pyogrio as a wheel "
            "(pip install --force-reinstall --only-binary pyogrio pyogrio), or write another format"
        )
    if writer.on_earth and not is_on_earth(crs):
        others = ", ".join(other.suffix for other in map(_writer_of, WRITERS) if not other.on_earth)
        raise OutputError(
            f"{path}: {writer.name} needs a map whose CRS ties it to the Earth, and this one has none; give "
            f"the map its CRS, or write one of {others}{' without --fiboa' if fiboa else ''}"
        )
    if writer.driver is not None and not writer.on_earth:
        try:
            layer_crs(crs, writer.driver)
        except OutputError as error:
            raise OutputError(f"{path}: {error}") from error
    return writer


def stage_polygons(table: PolygonTable, path: Path, *, fiboa: bool = False) -> StagedFile:
    """Write a table to a file under a temporary name.

    Args:
        table: The table.
        path: The final name; its ending determines the format.
        fiboa: Whether to add fiboa's columns.

    Returns:
        The complete file; ``files.publish`` gives it its final name.

    Raises:
        OutputError: If the format cannot be written; see ``check_target``.
        SettingsError: If the rows cannot be what the format asks for.
        RunError: If writing failed; nothing is left behind.
    """
    writer = check_target(path, table.crs, fiboa=fiboa)
    file = StagedFile.beside(path)
    try:
        writer.write(table, file.staged)
    except BaseException as error:
        is_full = _is_full(path.parent)  # before the file is removed; SQLite and GDAL do not report it
        discard([file])
        if isinstance(error, (OSError, RuntimeError)):
            why = "the disk is full; make room" if is_full else str(error)
            raise RunError(f"{path} could not be written: {why}") from error
        raise
    return file


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _FULL
    except OSError:
        return False


def write_polygons(table: PolygonTable, path: Path, *, fiboa: bool = False) -> None:
    """Write a table to a file, which appears when it is complete.

    Args:
        table: The table.
        path: The file, replaced if it exists; its ending determines the format.
        fiboa: Whether to add fiboa's columns.

    Raises:
        OutputError: If the format cannot be written; see ``check_target``.
        SettingsError: If the rows cannot be what the format asks for.
        RunError: If writing failed; ``path`` is as it was.
    """
    publish([stage_polygons(table, path, fiboa=fiboa)])
