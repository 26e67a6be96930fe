"""Score maps of held-out regions over all scenes, and write the report and page of ``geoseg evaluate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.assess.bootstrap import block_size
from geoseg.assess.boundary import read_tolerance
from geoseg.assess.calibration import calibration_errors
from geoseg.assess.compare import IDS, ComparedMap, add_up, compare
from geoseg.assess.evaluation import EVALUATION_VERSION, TOLERANCES
from geoseg.assess.examples import Example, draw_examples, make_renderer
from geoseg.assess.report import render_page
from geoseg.assess.scores import number, score
from geoseg.assess.summary import summarise_labels
from geoseg.classes import IGNORE, LandClass
from geoseg.execute.report import versions
from geoseg.files import encoded, to_json
from geoseg.grid import Window
from geoseg.maps.class_map_file import open_class_map
from geoseg.progress import Progress
from geoseg.raster.source import file_name
from geoseg.system.memory import peak_memory
from geoseg.training.ground.folds import Region
from geoseg.training.ground.labelled_scene import LabelledScene
from geoseg.training.held_out.maps import HeldOutMap

JSON_FILE, PAGE_FILE = "evaluation.json", "evaluation.html"


@dataclass(frozen=True)
class RegionLabels:
    """The labels of a scene inside some regions, read as the training run reads them.

    Attributes:
        scene: The scene.
        regions: The regions.
    """

    scene: LabelledScene
    regions: tuple[Region, ...]

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read class ids in a window, 255 outside the regions and where there is no label."""
        found = np.full(window.shape, IGNORE, np.uint8)
        touching = [region for region in self.regions if region.window.intersection(window)]
        if touching:
            ids = np.full(IDS, IGNORE, np.uint8)
            ids[: len(self.scene.class_ids)] = self.scene.class_ids
            inside = np.any([region.mask(window) for region in touching], axis=0)
            found[inside] = ids[self.scene.read_labels(window)][inside]
        return found


def score_held_out(
    maps: Sequence[HeldOutMap],
    scenes: Sequence[LabelledScene],
    regions: Sequence[Region],
    classes: Sequence[LandClass],
    progress: Progress,
) -> tuple[dict[str, Any], list[Example]] | None:
    """Compare the maps of all scenes with their labels.

    Args:
        maps: The maps.
        scenes: The scenes.
        regions: The regions to score.
        classes: All classes.
        progress: Shows how far the run is.

    Returns:
        The scores, as ``geoseg evaluate`` reports them, and example chips; None if no pixel has both a label
        and a class.

    Raises:
        RunError: If a file cannot be read.
    """
    parts = _compare(maps, scenes, regions, progress)
    total, unit = add_up(parts)
    if not total.sums.blocks():
        return None
    first = parts[0].class_map
    tolerances = [read_tolerance(text, first.georeference, first.shape) for text in TOLERANCES]
    content = summarise_labels(total, classes, tolerances, area_unit=unit)
    rims = {scene.rim for scene in scenes} - {0}
    if rims:
        content["warnings"].append(
            f"pixels within {max(rims)} of a label border are not scored ([label_values] rim)"
        )
    renderers = [make_renderer(scenes[one.scene].image, (0, 0)) for one in maps]
    return content, draw_examples(parts, classes, renderers)


def score_fold(
    maps: Sequence[HeldOutMap],
    scenes: Sequence[LabelledScene],
    regions: Sequence[Region],
    classes: Sequence[LandClass],
    progress: Progress,
) -> dict[str, Any]:
    """Score one fold: ``pixels``, ``accuracy``, ``miou``, ``ece`` and ``iou`` by class name."""
    inside = [one for one in maps if any(region.scene == one.scene for region in regions)]
    total, _ = add_up(_compare(inside, scenes, regions, progress, boundaries=False))
    ids = [item.id for item in classes]
    matrix = total.confusion()[np.ix_(ids, ids)]
    scores = score(matrix)
    return {
        "regions": len(regions),
        "pixels": int(matrix.sum()),
        "accuracy": number(scores.accuracy),
        "miou": number(scores.miou),
        "ece": number(calibration_errors(total.calibration())[0]),
        "iou": {item.name: number(scores.iou[i]) for i, item in enumerate(classes)},
    }


def _compare(
    maps: Sequence[HeldOutMap],
    scenes: Sequence[LabelledScene],
    regions: Sequence[Region],
    progress: Progress,
    *,
    boundaries: bool = True,
) -> list[ComparedMap]:
    opened = [(one.scene, open_class_map(one.classes, one.confidence)) for one in maps]
    block = max(block_size(None, item.georeference, item.shape) for _, item in opened)
    parts = []
    total = sum(item.shape[0] * item.shape[1] for _, item in opened)
    with progress.stage("scoring", total / 1e6, "Mpx") as bar:
        for number, item in opened:
            scene = scenes[number]
            labels = RegionLabels(scene, tuple(region for region in regions if region.scene == number))
            reach = tuple(read_tolerance(text, item.georeference, item.shape) for text in TOLERANCES)
            counts = compare(
                item,
                labels,
                block=block,
                tolerances=reach if boundaries else (),
                bar=bar,
            )
            parts.append(ComparedMap(scene.image.name, item, labels, counts))
    return parts


def describe(
    scenes: Sequence[LabelledScene], maps: Sequence[HeldOutMap], model: Mapping[str, Any]
) -> dict[str, Any]:
    """Describe the maps and labels: the keys ``kind``, ``map`` and ``labels`` of the report.

    Args:
        scenes: The scenes.
        maps: Their maps.
        model: ``name``, ``path``, ``model`` and ``model_hash`` of the package.
    """
    images = [scenes[one.scene].image for one in maps]
    labels = [scenes[one.scene].labels.path for one in maps]
    crs = images[0].georeference.crs
    return {
        "kind": "labels",
        "map": {
            **model,
            "shape": list(images[0].shape),
            "crs": None if crs is None else crs.to_string(),
            "gsd": images[0].gsd,
            "scenes": [{"name": image.name, "shape": list(image.shape)} for image in images],
        },
        "labels": {
            "path": ", ".join(dict.fromkeys(labels)),
            "name": ", ".join(dict.fromkeys(file_name(path) for path in labels)),
            "kind": "training labels",
            "column": None,
            "aoi": None,
        },
    }


def write_evaluation(
    folder: Path, content: Mapping[str, Any], examples: Sequence[Example], since: float
) -> dict[str, Any]:
    """Write ``evaluation.json`` and the self-contained page ``evaluation.html``.

    Args:
        folder: Folder of the two files.
        content: The report, without versions and seconds.
        examples: Example chips to show.
        since: When measuring began (``perf_counter``).

    Returns:
        The whole report.
    """
    report = {"report_version": EVALUATION_VERSION} | dict(content)
    report |= {"seconds": {"total": perf_counter() - since}, "peak_memory_bytes": peak_memory()}
    report["versions"] = versions()
    (folder / JSON_FILE).write_bytes(encoded(to_json(report, allow_nan=False)))
    (folder / PAGE_FILE).write_bytes(encoded(render_page(report, examples)))
    return report
