"""Write a polygon table to a file: one protocol, one module per format; ``WRITERS`` lists them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol

from geoseg.errors import OutputError, RunError
from geoseg.files import StagedFile, discard, publish
from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.writers.earth import is_on_earth
from geoseg.polygons.writers.fiboa import Fiboa
from geoseg.polygons.writers.flatgeobuf import FlatGeobuf
from geoseg.polygons.writers.geojson import GeoJsonSequence
from geoseg.polygons.writers.geopackage import GeoPackage
from geoseg.polygons.writers.geoparquet import GeoParquet
from geoseg.polygons.writers.pmtiles.writer import PMTiles


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


WRITERS: tuple[PolygonWriter, ...] = (
    GeoPackage(),
    FlatGeobuf(),
    GeoParquet(),
    GeoJsonSequence("newline-delimited GeoJSON", ".geojsonl", separated=False),
    GeoJsonSequence("GeoJSON text sequence", ".geojsons", separated=True),
    PMTiles(),
)
_FULL = 2**20
"""Free bytes below which a disk counts as full: writers request more than this at once."""
SUFFIXES = tuple(writer.suffix for writer in WRITERS)


def writer_for(path: Path, *, fiboa: bool = False) -> PolygonWriter:
    """Choose the writer by the ending of a file name.

    Args:
        path: The file; its name without the ending becomes the name of fiboa's collection.
        fiboa: Whether to add fiboa's columns.

    Raises:
        OutputError: If no writer has that ending, or the format cannot hold fiboa's columns.
    """
    writer = next((writer for writer in WRITERS if path.suffix.lower() == writer.suffix), None)
    if writer is None:
        known = ", ".join(f"{writer.suffix} ({writer.name})" for writer in WRITERS)
        raise OutputError(f"{path}: polygons are written to {known}; give a name with one of these endings")
    if not fiboa:
        return writer
    made = Fiboa(path.stem)
    if writer.suffix != made.suffix:
        raise OutputError(f"{path}: --fiboa goes into GeoParquet; give a name that ends in {made.suffix}")
    return made


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
    writer = writer_for(path, fiboa=fiboa)
    if writer.driver is not None and not _gdal_writes(writer.driver):
        raise OutputError(
            f"{path}: the GDAL that pyogrio uses cannot write {writer.name}; install pyogrio as a wheel "
            "(pip install --force-reinstall --only-binary pyogrio pyogrio), or write another format"
        )
    if writer.on_earth and not is_on_earth(crs):
        raise OutputError(
            f"{path}: {writer.name} needs a map whose CRS ties it to the Earth, and this one has none; give "
            "the map its CRS, or write .gpkg, .fgb or plain .parquet"
        )
    return writer


def _gdal_writes(driver: str) -> bool:
    import pyogrio

    return "w" in pyogrio.list_drivers().get(driver, "")


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
        SettingsError: If the rows do not meet the limits of the format.
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
        SettingsError: If the rows do not meet the limits of the format.
        RunError: If writing failed; ``path`` is as it was.
    """
    publish([stage_polygons(table, path, fiboa=fiboa)])
