"""Refine the class map given to ``polygonize`` into scratch rasters, from which polygons are traced."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA, LandClass, complete_legend
from geoseg.errors import SettingsError
from geoseg.files import StagedFile, work_folder
from geoseg.grid import Window
from geoseg.maps.class_map_file import DATE_TAG, ClassMapFile, open_class_map
from geoseg.maps.kinds import ClassMap, ConfidenceMap, MapKind
from geoseg.maps.writer import MapWriter
from geoseg.progress import Progress
from geoseg.refine.rasters import MapToRefine
from geoseg.refine.request import REFINE_TAG, Refinement, RefineOptions
from geoseg.refine.step import STRIP_PIXELS

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class RefinedClassMap:
    """The class map from which polygons are traced, refined or as given.

    Attributes:
        file: The open class map, with its confidence and probabilities.
        legend: Its named classes.
        writer: Writer of the refined map; None if the map is not kept.
    """

    file: ClassMapFile
    legend: tuple[LandClass, ...]
    writer: MapWriter | None = None

    def finish(self) -> list[StagedFile]:
        """Complete the refined map under a temporary name, if it is kept."""
        return [] if self.writer is None else self.writer.finish()


def refinement_of(options: RefineOptions, class_map: ClassMapFile) -> Refinement | None:
    """Parse the options for a class map, and check them; return None if there is no step.

    Raises:
        SettingsError: If a value is wrong, or cannot be used with this map.
    """
    if options == RefineOptions():
        return None
    refinement = options.read(class_map.legend, class_map.path)
    refinement.steps(class_map.pixel_sizes(), class_map.shape[1])
    return refinement


def check_refined(refined: PathLike | None, refinement: Refinement | None) -> None:
    """Refuse ``--refined`` if no step changes the map.

    Raises:
        SettingsError: Naming the options that change it.
    """
    if refined is not None and refinement is None:
        raise SettingsError(
            f"--refined {os.fspath(refined)}: no step changes the map; give --smooth, --open, --close, "
            "--fill-holes or --sieve"
        )


@contextmanager
def refined_class_map(
    class_map: ClassMapFile,
    refinement: Refinement | None,
    *,
    output: Path,
    refined: Path | None,
    overwrite: bool,
    progress: Progress,
) -> Iterator[RefinedClassMap]:
    """Open the map to trace: the given one, or temporary rasters that hold the refined map.

    Args:
        class_map: The class map.
        refinement: The steps, or None.
        output: File for the polygons; temporary rasters lie beside it.
        refined: File for the refined map; None if it is not kept.
        overwrite: Whether unfinished work of another run may be replaced.
        progress: Shows progress.
    """
    if refinement is None:
        yield RefinedClassMap(class_map, class_map.legend)
        return
    folder = output.with_name(output.name + ".geoseg-work")
    with work_folder(folder, overwrite=overwrite) as scratch:
        writers = _refine(class_map, refinement, refined or scratch / "unused.tif", scratch, progress)
        try:
            paths = [writer.close() for writer in writers]
            confidence = None if class_map.confidence is None else paths[1]
            probabilities = None if class_map.probabilities is None else class_map.probabilities.path
            with open_class_map(paths[0], confidence, probabilities) as file:
                yield RefinedClassMap(file, class_map.legend, None if refined is None else writers[0])
        finally:
            for writer in writers:
                writer.discard()


def _refine(
    class_map: ClassMapFile, refinement: Refinement, final: Path, scratch: Path, progress: Progress
) -> list[MapWriter]:
    """Write the refined class map, and its confidence if there is one, into scratch rasters."""
    shape, bands = class_map.shape, class_map.band_classes()
    given = MapToRefine(
        shape,
        lambda row, height: _rows(class_map, row, height),
        (lambda row, height: class_map.read_probabilities(_strip(class_map, row, height))) if bands else None,
        bands,
        scratch,
    )
    legend = complete_legend(class_map.legend, _classes_in(class_map), colors=class_map.colors)
    kinds: list[MapKind] = [ClassMap(legend)]
    if class_map.confidence is not None:
        kinds.append(ConfidenceMap())
    tags = _tags(class_map, refinement.text(by_probability=bool(bands)))
    whole = Window.from_shape(shape)
    writers = [
        MapWriter(kind, final, scratch, whole, class_map.georeference, tags, read_again=True)
        for kind in kinds
    ]
    changed = 0
    steps = refinement.steps(class_map.pixel_sizes(), shape[1], bands=bands, folder=scratch)
    for part in given.rows(steps, progress):
        window = Window(part.row, 0, *part.classes.shape)
        writers[0].write(window, part.classes[None])
        if part.confidence is not None:
            writers[1].write(window, part.confidence[None])
        changed += part.changed
    progress.say(f"refining changed {changed:,} pixels")
    return writers


def _tags(class_map: ClassMapFile, steps: str) -> dict[str, str]:
    """Return the tags of the refined map: those of the map, these steps appended to earlier ones."""
    tags = {key: value for key, value in class_map.tags.items() if key.startswith(("GEOSEG_", DATE_TAG))}
    before = tags.get(REFINE_TAG)
    return tags | {REFINE_TAG: steps if before is None else f"{before}; then {steps}"}


def _strip(class_map: ClassMapFile, row: int, height: int) -> Window:
    return Window(row, 0, height, class_map.shape[1])


def _rows(
    class_map: ClassMapFile, row: int, height: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    strip = _strip(class_map, row, height)
    confidence = None if class_map.confidence is None else class_map.read_confidence(strip)
    return class_map.read(strip), confidence


def _classes_in(class_map: ClassMapFile) -> list[int]:
    """List the class ids that occur in a map, ascending."""
    rows, columns = class_map.shape
    found = np.zeros(256, dtype=np.int64)
    step = max(1, STRIP_PIXELS // columns)
    for row in range(0, rows, step):
        ids = class_map.read(_strip(class_map, row, min(step, rows - row)))
        found += np.bincount(ids.ravel(), minlength=256)
    return [int(value) for value in np.flatnonzero(found[:NODATA])]
