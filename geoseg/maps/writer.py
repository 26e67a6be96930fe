"""Writes one map window by window, then turns it into a Cloud Optimized GeoTIFF with its sidecars."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import RunError
from geoseg.grid import Window
from geoseg.maps.decide import NODATA
from geoseg.maps.kinds import MapKind
from geoseg.scene.georeference import Georeference

TILE = 512
_COG = {
    "driver": "COG",
    "compress": "DEFLATE",
    "level": "6",
    "blocksize": str(TILE),
    "bigtiff": "IF_SAFER",
    "num_threads": "ALL_CPUS",
}


@dataclass(frozen=True)
class StagedFile:
    """A complete file under a temporary name, waiting for all others of its run.

    Attributes:
        staged: Where it is.
        final: What it will be called.
    """

    staged: Path
    final: Path


class MapWriter:
    """One raster being written.

    Windows go to an uncompressed scratch raster, so a block may begin and end anywhere; ``finish`` makes the
    compressed COG in one pass. The bytes depend on the pixels and tags alone, not on the order of writing.

    Args:
        kind: What is written.
        final: Where the raster will be.
        scratch: Folder for the scratch raster.
        window: The part of the scene's grid that the raster covers.
        georeference: The scene's georeferencing; cut to ``window``.
        tags: Provenance.
    """

    def __init__(
        self,
        kind: MapKind,
        final: Path,
        scratch: Path,
        window: Window,
        georeference: Georeference,
        tags: Mapping[str, str],
    ) -> None:
        self.kind = kind
        self.final = final
        self.window = window
        self.georeference = georeference.cut(window.row, window.col)
        self._tags = dict(tags)
        self._scratch = scratch / f"{kind.name}.tif"
        self._staged: list[StagedFile] = []
        with _quiet():
            self._dataset = rasterio.open(
                self._scratch,
                "w",
                driver="GTiff",
                dtype="uint8",
                count=len(kind.descriptions),
                height=window.height,
                width=window.width,
                nodata=NODATA,
                tiled=True,
                blockxsize=TILE,
                blockysize=TILE,
                interleave="band",
                sparse_ok=True,
                bigtiff="IF_SAFER",
            )
            self._describe(self.georeference)

    def write(self, window: Window, pixels: NDArray[np.uint8]) -> None:
        """Write one window.

        Args:
            window: On the scene's grid, inside the map's window.
            pixels: uint8 (bands, rows, columns) from ``kind.render``.

        Raises:
            RunError: If the disk is full.
        """
        place = RasterioWindow(
            window.col - self.window.col, window.row - self.window.row, window.width, window.height
        )
        try:
            self._dataset.write(pixels, window=place)
        except RasterioError as error:
            raise self._unwritable(self._scratch, error) from error

    def close(self) -> Path:
        """End writing; returns the scratch raster, which can be read until ``finish`` or ``discard``."""
        self._dataset.close()
        return self._scratch

    def finish(self) -> list[StagedFile]:
        """Make the COG and its sidecars under temporary names beside their final place.

        Returns:
            The staged files, sidecars first, the raster last.

        Raises:
            RunError: If the disk is full or the folder cannot be written.
        """
        self.close()
        raster = self._stage(self.final)
        try:
            with _quiet():
                rasterio.shutil.copy(self._scratch, raster, overview_resampling=self.kind.overviews, **_COG)
            self._scratch.unlink()
            for final, text in self._sidecars():
                self._stage(final).write_text(text, encoding="utf-8")
        except (OSError, RasterioError) as error:
            self.discard()
            raise self._unwritable(self.final, error) from error
        return [*self._staged[1:], self._staged[0]]

    def discard(self) -> None:
        """Remove everything written so far."""
        self._dataset.close()
        for path in (self._scratch, *(file.staged for file in self._staged)):
            path.unlink(missing_ok=True)

    @staticmethod
    def _unwritable(path: Path, error: Exception) -> RunError:
        return RunError(f"{path} cannot be written ({error}); is the disk full?")

    def _describe(self, georeference: Georeference) -> None:
        dataset = self._dataset
        if georeference.transform is not None:
            dataset.transform = georeference.transform
        if georeference.crs is not None:
            dataset.crs = georeference.crs
        if georeference.gcps:
            dataset.gcps = (list(georeference.gcps), georeference.gcps_crs)
        if georeference.rpcs is not None:
            dataset.rpcs = georeference.rpcs
        if georeference.area_or_point:
            self._tags["AREA_OR_POINT"] = georeference.area_or_point
        dataset.update_tags(**self._tags)
        dataset.scales = [self.kind.scale] * dataset.count
        for band, description in enumerate(self.kind.descriptions, 1):
            dataset.set_band_description(band, description)
        palette = self.kind.palette()
        if palette is not None:
            dataset.write_colormap(1, palette)

    def _sidecars(self) -> list[tuple[Path, str]]:
        files = [(self.final.with_suffix(".qml"), self.kind.style())]
        content = self.kind.sidecar()
        if content is not None:
            files.append((self.final.with_name(self.final.name + ".aux.xml"), content))
        return files

    def _stage(self, final: Path) -> Path:
        file = StagedFile(final.with_name(f".{final.name}.{os.getpid()}.part"), final)
        self._staged.append(file)
        return file.staged


def stale_sidecars(raster: Path) -> tuple[Path, ...]:
    """Files that GDAL or QGIS would read beside a raster and that may be left from an older one."""
    beside = tuple(raster.with_name(raster.name + suffix) for suffix in (".aux.xml", ".ovr", ".msk"))
    return (*beside, raster.with_suffix(".qml"))


def _quiet() -> warnings.catch_warnings[None]:
    """Scenes without georeferencing are fine; rasterio warns of each."""
    return warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning)
