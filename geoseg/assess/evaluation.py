"""What ``geoseg evaluate`` does with a class map: compare it, estimate areas from a sample, draw a sample."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.assess.area import sample_size
from geoseg.assess.bootstrap import block_size
from geoseg.assess.boundary import read_tolerance
from geoseg.assess.compare import IDS, WINDOW, ComparedMap, Counts, compare
from geoseg.assess.examples import Example, ImageRenderer, draw_examples, make_renderer
from geoseg.assess.sample import DrawnSample, draw_sample, is_sample, read_sample, write_sample
from geoseg.assess.summary import summarise_labels, summarise_sample
from geoseg.classes import LandClass, complete_legend
from geoseg.errors import GeosegError, InputError
from geoseg.files import atomic
from geoseg.grid import Window, tiles
from geoseg.labels.labels import Labels, open_labels
from geoseg.labels.polygons import PolygonLabels
from geoseg.maps.class_map_file import ClassMapFile
from geoseg.names import name_key
from geoseg.omissions import Omission, settle
from geoseg.progress import Progress
from geoseg.raster.georeference import same_transform
from geoseg.raster.legend import read_legend
from geoseg.raster.source import GDAL_ERRORS, Source, file_name
from geoseg.scene.area import read_area
from geoseg.scene.opening import SceneOptions, open_scene

PathLike = str | os.PathLike[str]
EVALUATION_VERSION = 1
TOLERANCES = ("1px", "3px")
Examples = Callable[[], Sequence[Example]]
_CONJECTURE = 0.8
"""User's accuracy that is assumed for planning a sample where the map has no confidence."""


@dataclass(frozen=True)
class EvaluationRequest:
    """The settings of an evaluation; see ``geoseg.evaluate``."""

    label_column: str | None
    remap: Mapping[int | str, int] | None
    ignore: tuple[int | str, ...]
    blocks: str | None
    tolerances: tuple[str, ...]
    replicates: int
    seed: int
    window_size: int | None
    aoi: PathLike | None = None
    force: bool = False


def open_truth(
    class_map: ClassMapFile, labels: PathLike, request: EvaluationRequest
) -> tuple[Labels, Labels]:
    """Open the labels of a map: all of them, and those to compare, which lie in the area of interest.

    Raises:
        InputError: If the labels or the area cannot be used.
    """
    truth = open_labels(
        labels,
        class_map.path,
        class_map.legend or None,
        column=request.label_column,
        remap=request.remap,
        ignore=request.ignore,
    )
    if request.aoi is None:
        return truth, truth
    return truth, truth.within(read_area(request.aoi, open_scene(class_map.path)))


def against_labels(
    class_map: ClassMapFile,
    labels: PathLike,
    request: EvaluationRequest,
    progress: Progress,
    scene: PathLike | Sequence[PathLike] | None,
    reading: SceneOptions,
) -> tuple[dict[str, Any], Examples]:
    """Compare a map with labels, pixel by pixel.

    Args:
        class_map: The map.
        labels: The label file.
        request: The settings.
        progress: Shows how far it is.
        scene: The scene, for the pictures of the report; None for none.
        reading: How the scene is read.

    Returns:
        The report, and a function that draws its example chips.

    Raises:
        InputError: If a setting is wrong, or the labels cannot be used.
        RunError: If a file cannot be read.
    """
    place, shape = class_map.georeference, class_map.shape
    tolerances = tuple(read_tolerance(text, place, shape) for text in request.tolerances)
    block = block_size(request.blocks, place, shape)
    truth, compared = open_truth(class_map, labels, request)
    left_out = settle((*class_map.omissions, *compared.omissions), progress, force=request.force)
    with progress.stage("comparing", shape[0] * shape[1] / 1e6, "Mpx") as bar:
        counts = compare(
            class_map,
            compared,
            block=block,
            tolerances=tolerances,
            window_size=request.window_size or WINDOW,
            bar=bar,
        )
    own = _legend_of(truth)
    classes = _classes(class_map, counts, own)
    pixel_sizes = class_map.pixel_sizes()
    content = summarise_labels(
        counts,
        classes,
        tolerances,
        area_unit=None if pixel_sizes is None else pixel_sizes.area_unit,
        replicates=request.replicates,
        seed=request.seed,
    )
    renderer: ImageRenderer | None = None
    notes: list[str] = []
    if scene is not None:
        renderer, notes = _renderer(class_map, scene, reading)
    pixels = _pixels_left_out(labels, class_map, counts)
    content["left_out"] = left_out + settle(pixels, progress, force=request.force)
    content["warnings"] += [*_label_warnings(truth, class_map, own, request), *notes]

    def examples() -> list[Example]:
        return draw_examples([ComparedMap("", class_map, compared, counts)], classes, [renderer])

    described = {"map": _describe(class_map), "labels": _describe_labels(labels, truth, request.aoi)}
    return {"kind": "labels"} | described | content, examples


def against_sample(
    class_map: ClassMapFile, labels: PathLike, request: EvaluationRequest, progress: Progress
) -> tuple[dict[str, Any], Examples] | None:
    """Estimate accuracy and areas from a labelled sample; None if the labels are not a sample."""
    if not is_sample(labels):
        return None
    if request.aoi is not None:
        raise InputError(f"{os.fspath(labels)} is a sample of the whole map; leave --aoi out")
    pixels, areas, in_hectares = _mapped(class_map, progress, request.window_size or WINDOW)
    legend = complete_legend(class_map.legend, np.flatnonzero(pixels).tolist(), colors=class_map.colors)
    found = read_sample(
        labels, class_map, legend, column=request.label_column, remap=request.remap, ignore=request.ignore
    )
    ids = [item.id for item in legend if pixels[item.id] or (found.labels == item.id).any()]
    classes = [item for item in legend if item.id in ids]
    joint = np.bincount(found.labels.astype(np.intp) * IDS + found.classes, minlength=IDS * IDS)
    content = summarise_sample(
        joint.reshape(IDS, IDS)[np.ix_(ids, ids)], areas[ids], classes, in_hectares=in_hectares
    )
    content["left_out"] = settle((*class_map.omissions, *found.omissions), progress, force=request.force)
    content["samples"] = {"drawn": found.drawn, "labelled": int(found.labels.size)}
    content["warnings"] = [*content["warnings"], *found.warnings]
    described = {
        "map": _describe(class_map),
        "labels": {"path": found.path, "name": file_name(found.path), "column": found.column},
    }
    return {"kind": "sample"} | described | content, lambda: []


def draw(
    class_map: ClassMapFile, total: int, output: Path, request: EvaluationRequest, progress: Progress
) -> tuple[dict[str, Any], dict[str, Path]]:
    """Draw a sample of a map and write it; return the report, and the file by name."""
    with progress.stage("drawing", class_map.shape[0] * class_map.shape[1] / 1e6, "Mpx") as bar:
        drawn = draw_sample(
            class_map,
            total,
            seed=request.seed,
            window_size=request.window_size or WINDOW,
            bar=bar,
        )
    with atomic(output) as part:
        write_sample(part, drawn, class_map, request.seed)
    return _describe_draw(drawn, class_map, request.seed), {"sample": output}


def _describe_draw(drawn: DrawnSample, class_map: ClassMapFile, seed: int) -> dict[str, Any]:
    ids = np.flatnonzero(drawn.pixels)
    names = {item.id: item.name for item in complete_legend(class_map.legend, ids.tolist())}
    counts = np.bincount(drawn.classes, minlength=IDS)[ids]
    weights = drawn.areas[ids] / drawn.areas[ids].sum()
    users = np.where(np.isnan(drawn.confidence[ids]), _CONJECTURE, drawn.confidence[ids]).clip(0.01, 0.99)
    error = float(np.sqrt((weights**2 * users * (1 - users) / np.maximum(counts - 1, 1)).sum()))
    return {
        "kind": "draw",
        "map": _describe(class_map),
        "seed": seed,
        "drawn": int(counts.sum()),
        "expected_standard_error": error,
        "needed_for_standard_error": {f"{e:g}": sample_size(users, weights, e) for e in (0.01, 0.02, 0.03)},
        "strata": [
            {
                "id": int(value),
                "name": names[int(value)],
                "pixels": int(drawn.pixels[value]),
                "share": float(share),
                "drawn": int(count),
            }
            for value, share, count in zip(ids, weights, counts, strict=True)
        ],
    }


def _mapped(class_map: ClassMapFile, progress: Progress, size: int) -> tuple[Any, Any, bool]:
    """Measure pixels and area of every class id of a map; also tell whether the area is in hectares."""
    pixel_sizes = class_map.pixel_sizes()
    pixels, areas = np.zeros(IDS, np.int64), np.zeros(IDS)
    with progress.stage("measuring", class_map.shape[0] * class_map.shape[1] / 1e6, "Mpx") as bar:
        for window in tiles(class_map.shape, size):
            flat = class_map.read(window).ravel()
            pixels += np.bincount(flat, minlength=IDS)
            if pixel_sizes is not None:
                sizes = pixel_sizes.pixel_areas(window.row, window.col, *window.shape)
                areas += np.bincount(flat, sizes.ravel(), IDS)
            bar.advance(window.pixels / 1e6)
    pixels[-1] = areas[-1] = 0
    if pixel_sizes is None:
        return pixels, pixels.astype(np.float64), False
    return pixels, areas * pixel_sizes.area_unit, True


def _classes(class_map: ClassMapFile, counts: Counts, own: Sequence[LandClass]) -> tuple[LandClass, ...]:
    """List the map's classes and all others that occur, named by the map, else by the labels."""
    matrix = counts.confusion()
    ids = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1) + np.append(counts.mapped_pixels[:-1], 0))
    known = class_map.legend or tuple(item for item in own if item.id in set(ids.tolist()))
    return complete_legend(known, ids.tolist(), colors=class_map.colors)


def _legend_of(labels: Labels) -> tuple[LandClass, ...]:
    """Read the class names that a label raster contains."""
    if isinstance(labels.layer, PolygonLabels):
        return ()
    try:
        with Source(labels.path).open() as dataset:
            return read_legend(dataset)[0]
    except GDAL_ERRORS:
        return ()


def _pixels_left_out(labels: PathLike, class_map: ClassMapFile, counts: Counts) -> list[Omission]:
    """List the labelled pixels that no score counts.

    A map has no class where its scene has no valid pixel, which is nobody's fault: these are only said.
    """
    compared = int(counts.confusion().sum())
    found = [
        Omission(
            "pixels",
            os.fspath(labels),
            counts.labelled - compared,
            counts.labelled,
            "labelled pixels",
            f"{class_map.path} has no class there",
            refuses=False,
        )
    ]
    if class_map.confidence is not None:
        count = compared - int(counts.calibration()[0].sum())
        reason = "they have a class and no confidence, so calibration does not count them"
        found.append(
            Omission("pixels", class_map.confidence.path, count, compared, "compared pixels", reason)
        )
    return [each for each in found if each.count]


def _label_warnings(
    labels: Labels, class_map: ClassMapFile, own: Sequence[LandClass], request: EvaluationRequest
) -> list[str]:
    found = []
    if isinstance(labels.layer, PolygonLabels) and labels.layer.reasons:
        number, why = labels.layer.reasons[0]
        count = len(labels.layer.reasons)
        found.append(f"{count} label polygons were repaired; the first is row {number + 1}: {why}")
    if isinstance(labels.layer, PolygonLabels) and labels.layer.assumed_crs:
        found.append(f"{labels.path} has no CRS; its coordinates are taken to be in the map's")
    names = {item.id: item.name for item in class_map.legend}
    differ = [i for i in own if i.id in names and name_key(names[i.id]) != name_key(i.name)]
    if request.remap is None:
        found += [
            f'class {item.id} is "{names[item.id]}" in the map and "{item.name}" in the labels; they are '
            "compared as one class"
            for item in differ
        ]
    return found


def _renderer(
    class_map: ClassMapFile, scene: PathLike | Sequence[PathLike], reading: SceneOptions
) -> tuple[ImageRenderer | None, list[str]]:
    """Open the scene for pictures; return a warning instead if it does not lie on the map's grid."""
    try:
        opened = reading.open_all_bands(scene)
        row, col = class_map.origin
        inside = Window(row, col, *class_map.shape)
        of_map, of_scene = class_map.georeference.transform, opened.georeference.cut(row, col).transform
        is_inside = inside.intersection(Window.from_shape(opened.shape)) == inside
        if not (is_inside and same_transform(of_scene, of_map, class_map.shape)):
            return None, [f"the map does not lie on the grid of {opened.name}, so the report shows no image"]
        return make_renderer(opened, (row, col)), []
    except GeosegError as error:
        return None, [f"the report shows no image: {error}"]


def _describe(class_map: ClassMapFile) -> dict[str, Any]:
    crs = class_map.georeference.crs
    return {
        "name": file_name(class_map.path),
        "path": class_map.path,
        "shape": list(class_map.shape),
        "crs": None if crs is None else crs.to_string(),
        "gsd": class_map.georeference.gsd(class_map.shape),
        "model": class_map.tags.get("GEOSEG_MODEL"),
        "model_hash": class_map.tags.get("GEOSEG_MODEL_HASH"),
    }


def _describe_labels(path: PathLike, labels: Labels, aoi: PathLike | None) -> dict[str, Any]:
    is_polygons = isinstance(labels.layer, PolygonLabels)
    return {
        "path": os.fspath(path),
        "name": Path(path).name,
        "kind": "polygons" if is_polygons else "raster",
        "column": labels.layer.column if isinstance(labels.layer, PolygonLabels) else None,
        "aoi": None if aoi is None else os.fspath(aoi),
    }
