"""``geoseg evaluate --contradictions``: where a confident map and its labels disagree."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geoseg.assess.evaluation import EvaluationRequest, open_truth
from geoseg.errors import InputError
from geoseg.maps.class_map_file import ClassMapFile
from geoseg.plan.outputs import check_outputs
from geoseg.progress import Progress
from geoseg.training.contradictions.contradictions import write_contradictions

PathLike = str | os.PathLike[str]
OPTION, ENDINGS = "--contradictions", (".gpkg",)


def check_contradictions(
    output: Path,
    others: Sequence[PathLike],
    draw_sample: int | None,
    has_confidence: bool,
    overwrite: bool,
) -> None:
    """Refuse what cannot work before anything is read; ``others`` are files that are read or written too.

    Raises:
        InputError: Naming the option and what to do.
    """
    if draw_sample is not None:
        raise InputError(f"--draw-sample takes no {OPTION}: draw, label, then evaluate")
    if not has_confidence:
        raise InputError(f"{OPTION} ranks by confidence: name the map's raster of it with --confidence")
    inputs = [os.fspath(path) for path in others]
    check_outputs({OPTION: output}, inputs, endings={OPTION: ENDINGS}, overwrite=overwrite)


def contradict(
    class_map: ClassMapFile, labels: PathLike, request: EvaluationRequest, output: Path, progress: Progress
) -> dict[str, Any]:
    """Write the ranked places where a map contradicts labels; returns what the report says of them.

    Raises:
        InputError: If labels cannot be read.
        RunError: If writing failed.
    """
    _, truth = open_truth(class_map, labels, request)
    found = write_contradictions(
        output, predicted=class_map, labels=truth, classes=class_map.legend, progress=progress
    )
    return {
        "path": os.fspath(output),
        "places": found.found,
        "written": len(found.places),
        "contradicted_pixels": found.contradicted,
        "compared_pixels": found.compared,
        "thresholds": {str(key): value for key, value in found.thresholds.items()},
    }
