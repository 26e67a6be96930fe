"""Refine a finished class map, anyone's, before polygons are traced from it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import LandClass, complete_legend
from geoseg.errors import SettingsError
from geoseg.files import StagedFile, work_folder
from geoseg.grid import Window
from geoseg.maps.kinds import ClassMap, ConfidenceMap, MapKind
from geoseg.maps.writer import MapWriter
from geoseg.polygons.rasters import DATE_TAG, MapRasters
from geoseg.progress import Progress
from geoseg.raster.georeference import Georeference
from geoseg.raster.pixel_sizes import measure_pixel_sizes
from geoseg.refine.passes import STRIP_PIXELS, ReadRows
from geoseg.refine.rasters import MapToRefine, ReadMap, open_quietly
from geoseg.refine.request import REFINE_TAG, Refinement, RefineOptions

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Sources:
    """The rasters from which polygons are traced.

    Attributes:
        classes: The class map.
        confidence: Its confidence raster, or None.
        legend: Its classes that have names; None where its own files say them.
        writer: Writes the refined map; None where it is not kept.
    """

    classes: PathLike
    confidence: PathLike | None
    legend: tuple[LandClass, ...] | None = None
    writer: MapWriter | None = None

    def finish(self) -> list[StagedFile]:
        """The refined map under a temporary name, if it is kept."""
        return [] if self.writer is None else self.writer.finish()


def refinement_of(options: RefineOptions, class_map: PathLike) -> Refinement | None:
    """Read what the user wrote for a class map, and see that it can be done there.

    Raises:
        SettingsError: If a value cannot be read or used.
        SceneError: If the class map cannot be read.
    """
    if options == RefineOptions():
        return None
    with MapRasters(class_map) as maps:
        info = maps.info
    refinement = options.read(info.legend, os.fspath(class_map))
    if refinement is not None:
        refinement.steps(
            measure_pixel_sizes(info.crs, info.transform, info.shape, info.origin), info.shape[1]
        )
    return refinement


def check_refined(refined: PathLike | None, refinement: Refinement | None) -> None:
    """Refuse to write a refined map where nothing refines it.

    Raises:
        SettingsError: Naming the options that do.
    """
    if refined is not None and refinement is None:
        raise SettingsError(
            f"--refined {os.fspath(refined)}: no step changes the map; give --smooth, --open, --close, "
            "--fill-holes or --sieve"
        )


@contextmanager
def sources_of(
    refinement: Refinement | None,
    class_map: PathLike,
    confidence: PathLike | None,
    probabilities: PathLike | None,
    *,
    output: Path,
    refined: Path | None,
    overwrite: bool,
    progress: Progress,
) -> Iterator[Sources]:
    """The rasters to trace: those given, or scratch rasters with the refined map, gone afterwards.

    Args:
        refinement: The steps, or None.
        class_map: The class map.
        confidence: Its confidence raster, or None.
        probabilities: Its probability raster, or None.
        output: The polygons; scratch rasters lie beside them.
        refined: Where the refined map will be; None if it is not kept.
        overwrite: Whether unfinished work may be replaced.
        progress: Shows how far it is.
    """
    if refinement is None:
        yield Sources(class_map, confidence)
        return
    folder = output.with_name(output.name + ".geoseg-work")
    with work_folder(folder, overwrite=overwrite) as scratch:
        writers, legend = _refine(
            refinement,
            class_map,
            confidence,
            probabilities,
            refined or scratch / "unused.tif",
            scratch,
            progress,
        )
        try:
            paths = [writer.close() for writer in writers]
            kept = None if refined is None else writers[0]
            yield Sources(paths[0], None if confidence is None else paths[1], legend, kept)
        finally:
            for writer in writers:
                writer.discard()


def _refine(
    refinement: Refinement,
    class_map: PathLike,
    confidence: PathLike | None,
    probabilities: PathLike | None,
    final: Path,
    scratch: Path,
    progress: Progress,
) -> tuple[list[MapWriter], tuple[LandClass, ...]]:
    """Scratch rasters of the refined class map and its confidence, and the map's legend."""
    with (
        MapRasters(class_map, confidence) as maps,
        MapRasters(class_map, probabilities=probabilities) as likely,
        open_quietly(Path(class_map)) as dataset,
    ):
        info = maps.info
        bands = likely.band_classes(info.legend).tolist()
        pixel_sizes = measure_pixel_sizes(info.crs, info.transform, info.shape, info.origin)
        given = MapToRefine(info.shape, _reader(maps), _likely(likely) if bands else None, bands, scratch)
        tags = {key: value for key, value in info.tags.items() if key.startswith(("GEOSEG_", DATE_TAG))}
        before, text = tags.get(REFINE_TAG), refinement.text(by_probability=bool(bands))
        tags[REFINE_TAG] = text if before is None else f"{before}; then {text}"
        legend = complete_legend(info.legend, _classes_in(maps), colors=info.colors)
        kinds: list[MapKind] = (
            [ClassMap(legend)] if confidence is None else [ClassMap(legend), ConfidenceMap()]
        )
        whole, georeference = Window.from_shape(info.shape), Georeference.of(dataset)
        writers = [
            MapWriter(kind, final, scratch, whole, georeference, tags, read_again=True) for kind in kinds
        ]
        changed = 0
        for part in given.rows(
            refinement.steps(pixel_sizes, info.shape[1], bands=bands, folder=scratch), progress
        ):
            window = Window(part.row, 0, *part.classes.shape)
            writers[0].write(window, part.classes[None])
            if part.confidence is not None:
                writers[1].write(window, part.confidence[None])
            changed += part.changed
    progress.say(f"refining changed {changed:,} pixels")
    return writers, info.legend


def _reader(maps: MapRasters) -> ReadMap:
    def read(row: int, height: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        block = maps.rows(row, height)
        return block.classes, block.confidence

    return read


def _likely(maps: MapRasters) -> ReadRows:
    def read(row: int, height: int) -> NDArray[np.uint8]:
        stored = maps.rows(row, height).probabilities
        assert stored is not None  # called only where there are any
        return stored

    return read


def _classes_in(maps: MapRasters) -> list[int]:
    """The class ids that occur in a map, ascending."""
    rows, columns = maps.info.shape
    found = np.zeros(256, dtype=np.int64)
    step = max(1, STRIP_PIXELS // columns)
    for row in range(0, rows, step):
        found += np.bincount(maps.rows(row, min(step, rows - row)).classes.ravel(), minlength=256)
    return [int(value) for value in np.flatnonzero(found[:255])]
