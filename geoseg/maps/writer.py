"""Write one map, window by window, as a Cloud Optimized GeoTIFF with its sidecars."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.classes import NODATA
from geoseg.errors import RunError
from geoseg.files import StagedFile, discard
from geoseg.grid import Window
from geoseg.maps.cog.cog import StreamedCog
from geoseg.maps.cog.pyramid import HALVE, TILE
from geoseg.maps.crs import crs_beside, with_crs
from geoseg.maps.kinds import MapKind
from geoseg.raster.georeference import Georeference

__all__ = ["TILE", "MapWriter"]


class MapWriter:
    """Write one raster, window by window.

    A background thread compresses tiles as soon as they are complete, so windows may begin and end anywhere,
    and little is left to do at the end. The bytes depend on the pixels and tags alone, not on the order of
    writing.

    Args:
        kind: The kind of map.
        final: The final name of the raster.
        scratch: Folder for unfinished files.
        window: The part of the scene's grid that the raster covers.
        georeference: The scene's georeferencing, to be cut to ``window``.
        tags: Metadata of the raster: its provenance.
        read_again: Whether pixels will be read or changed before ``finish``. They are then kept in an
            uncompressed raster, and compressed at the end.
    """

    def __init__(
        self,
        kind: MapKind,
        final: Path,
        scratch: Path,
        window: Window,
        georeference: Georeference,
        tags: Mapping[str, str],
        *,
        read_again: bool = False,
    ) -> None:
        self.kind = kind
        self.final = final
        self.window = window
        self.read_again = read_again
        self.georeference = georeference.cut(window.row, window.col)
        self._crs_beside = crs_beside(georeference.crs)
        self._tags = dict(tags)
        self._folder = scratch
        self._staged: list[StagedFile] = []
        self._cog: StreamedCog | None = None
        self._raster: ScratchRaster | None = None
        if read_again:
            path = scratch / f"{kind.name}.tif"
            self._raster = ScratchRaster(path, window.shape, len(kind.descriptions), self._describe)
        else:
            self._cog = self._stream()

    def write(self, window: Window, pixels: NDArray[np.uint8]) -> None:
        """Write one window.

        Args:
            window: The window, on the scene's grid and inside the map's window; write no pixel twice.
            pixels: uint8 (bands, rows, columns) from ``kind.render``; must not be changed afterwards.

        Raises:
            RunError: If the disk is full.
        """
        place = Window(window.row - self.window.row, window.col - self.window.col, *window.shape)
        target = self._raster or self._cog
        assert target is not None
        try:
            target.write(place, pixels)
        except (OSError, RasterioError) as error:
            raise self._unwritable(self._folder, error) from error

    def close(self) -> Path:
        """End writing, and return the uncompressed raster; it exists until ``finish`` or ``discard``."""
        assert self._raster is not None
        return self._raster.close()

    def finish(self) -> list[StagedFile]:
        """Complete the raster and its sidecars, under temporary names beside the final ones.

        Returns:
            The staged files, sidecars first, the raster last.

        Raises:
            RunError: If the disk is full or the folder cannot be written.
        """
        raster = self._stage(self.final)
        try:
            if self._raster is not None:
                self._cog = self._stream()
                for place, pixels in self._raster.strips(TILE):
                    self._cog.write(place, pixels)
                self._raster.remove()
            assert self._cog is not None
            self._cog.finish(raster)
            for final, text in self._sidecars():
                self._stage(final).write_text(text, encoding="utf-8")
        except (OSError, RasterioError) as error:
            self.discard()
            raise self._unwritable(self.final, error) from error
        return [*self._staged[1:], self._staged[0]]

    def discard(self) -> None:
        """Remove everything written so far."""
        if self._cog is not None:
            self._cog.close()
        if self._raster is not None:
            self._raster.remove()
        discard(self._staged)

    def _stream(self) -> StreamedCog:
        try:
            with _quiet():
                return StreamedCog(
                    self.window.shape,
                    len(self.kind.descriptions),
                    halve=HALVE[self.kind.overviews],
                    level=self.kind.effort,
                    spool=self._folder / f"{self.kind.name}.tiles",
                    describe=self._describe,
                    describe_overview=self._describe_overview,
                )
        except (OSError, RasterioError) as error:
            raise self._unwritable(self._folder, error) from error

    @staticmethod
    def _unwritable(path: Path, error: Exception) -> RunError:
        return RunError(f"{path} cannot be written ({error}); is the disk full?")

    def _describe(self, dataset: Any) -> None:
        self._describe_overview(dataset)
        georeference = self.georeference
        if georeference.transform is not None:
            dataset.transform = georeference.transform
        if georeference.crs is not None:
            dataset.crs = georeference.crs
        if georeference.gcps:
            dataset.gcps = (list(georeference.gcps), georeference.gcps_crs)
        if georeference.rpcs is not None:
            dataset.rpcs = georeference.rpcs
        tags = self._tags
        if georeference.area_or_point:
            tags = tags | {"AREA_OR_POINT": georeference.area_or_point}
        dataset.update_tags(**tags)
        dataset.scales = [self.kind.scale] * dataset.count
        for band, description in enumerate(self.kind.descriptions, 1):
            dataset.set_band_description(band, description)

    def _describe_overview(self, dataset: Any) -> None:
        dataset.nodata = NODATA
        palette = self.kind.palette()
        if palette is not None:
            dataset.write_colormap(1, palette)

    def _sidecars(self) -> list[tuple[Path, str]]:
        files = [(self.final.with_suffix(".qml"), self.kind.style())]
        content = self.kind.sidecar()
        if self._crs_beside is not None:
            content = with_crs(content, self._crs_beside)
        if content is not None:
            files.append((self.final.with_name(self.final.name + ".aux.xml"), content))
        return files

    def _stage(self, final: Path) -> Path:
        file = StagedFile.beside(final)
        self._staged.append(file)
        return file.staged


def _quiet() -> warnings.catch_warnings[None]:
    """Suppress rasterio's warning about scenes without georeferencing, which are allowed."""
    return warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning)


class ScratchRaster:
    """An uncompressed raster, whose pixels can be read or changed before they are final.

    Args:
        path: The file, which is created.
        shape: (rows, columns).
        bands: Number of bands.
        describe: Sets georeferencing, nodata, palette, tags of an open rasterio dataset.
    """

    def __init__(
        self, path: Path, shape: tuple[int, int], bands: int, describe: Callable[[Any], None]
    ) -> None:
        self._path = path
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
            self._dataset = rasterio.open(
                path,
                "w",
                driver="GTiff",
                dtype="uint8",
                count=bands,
                height=shape[0],
                width=shape[1],
                tiled=True,
                blockxsize=TILE,
                blockysize=TILE,
                interleave="band",
                sparse_ok=True,
                bigtiff="IF_SAFER",
            )
            describe(self._dataset)

    def write(self, window: Window, pixels: NDArray[np.uint8]) -> None:
        """Write one window, uint8 (bands, rows, columns)."""
        self._dataset.write(pixels, window=_place(window))

    def close(self) -> Path:
        """End writing, and return the file."""
        self._dataset.close()
        return self._path

    def strips(self, height: int) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
        """Read the raster in strips of whole rows, from top to bottom."""
        self.close()
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
            dataset = rasterio.open(self._path)
        with dataset:
            rows, cols = dataset.shape
            for row in range(0, rows, height):
                window = Window(row, 0, min(height, rows - row), cols)
                yield window, dataset.read(window=_place(window))

    def remove(self) -> None:
        """Remove the file."""
        self._dataset.close()
        self._path.unlink(missing_ok=True)


def _place(window: Window) -> RasterioWindow:
    return RasterioWindow(window.col, window.row, window.width, window.height)
