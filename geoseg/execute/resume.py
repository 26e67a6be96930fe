"""``--resume``: how a run goes on where another was cut short, and what it does when all is done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rasterio

from geoseg.errors import OutputError
from geoseg.execute.fingerprint import BLOCK_SIZE
from geoseg.execute.report import ANSWER_TAG, provenance, provenance_of_polygons, provenance_of_run
from geoseg.execute.work_folder import read_fingerprint
from geoseg.plan.plan import Begun, Plan
from geoseg.plan.prepare import Prepared
from geoseg.polygons.writers.read_provenance import OURS, read_provenance
from geoseg.refine.request import REFINE_TAG


def read_begun(prepared: Prepared) -> Begun:
    """Read in which blocks the unfinished work of a run was begun.

    Blocks never change the answer, but work can only be gone on with in the same ones.
    """
    begun = read_fingerprint(prepared.outputs.work_folder)
    if begun is None or prepared.request.compute.block_size is not None:
        return Begun()
    try:
        return Begun(int(begun[BLOCK_SIZE]))
    except (KeyError, ValueError):
        return Begun()


def is_finished(plan: Plan, answer: str) -> bool:
    """Tell whether all outputs are there, as this run would make them: each file says what made it.

    Args:
        plan: The run, which was asked to resume.
        answer: The hash of what its maps depend on (``fingerprint.answer_of``).

    Raises:
        OutputError: If files are in the way that are not what this run would make, or cannot say so.
    """
    run = plan.prepared
    outputs = run.outputs.named()
    there = [path for path in outputs.values() if path.exists()]
    if run.outputs.work_folder.exists() or not there:
        return False
    found = [f"{path} is missing" for path in outputs.values() if path not in there]
    if not found:
        found = _all_unlike(plan, answer)
    if found:
        raise OutputError(
            f"--resume: there is no unfinished work, and {there[0]} is not of a finished run like this "
            f"({'; '.join(found)}); --overwrite makes all anew"
        )
    return True


def finished_report(plan: Plan) -> dict[str, Any]:
    """Give the report of the run that made the outputs, where it wrote one; else what is sure."""
    run = plan.prepared
    if run.outputs.report is not None:
        return _read_report(run.outputs.report)
    return {"outputs": {name: str(path) for name, path in run.outputs.named().items()}}


def _all_unlike(plan: Plan, answer: str) -> list[str]:
    """Say how outputs differ from what this run would make; files that differ alike are named together."""
    run = plan.prepared
    reasons: dict[str, list[str]] = {}
    for name, path in run.outputs.named().items():
        reason = _unlike(plan, answer, name, path)
        if reason is not None:
            reasons.setdefault(reason, []).append(str(path))
    return [f"{', '.join(paths)}: {reason}" for reason, paths in reasons.items()]


def _unlike(plan: Plan, answer: str, name: str, path: Path) -> str | None:
    """Say how an output differs from what this run would make; None if it does not."""
    if name == "report":
        return _unlike_report(plan, answer, path)
    if name == "polygons":
        try:
            found = read_provenance(path)
        except OutputError as error:
            raise OutputError(f"{error}; --overwrite makes all anew") from error
        if found is None:
            return f"{path.suffix} has no place to say what made it, so nobody can tell"
        return _difference(found, provenance_of_polygons(plan, answer))
    wanted = provenance(plan, answer)
    if name == "probabilities":  # they are never refined
        wanted.pop(REFINE_TAG, None)
    return _difference(_tags(path), wanted)


def _unlike_report(plan: Plan, answer: str, path: Path) -> str | None:
    run = plan.prepared
    report = _read_report(path)
    found, outputs = report.get("provenance"), report.get("outputs")
    if not isinstance(found, dict) or not isinstance(outputs, dict):
        return "does not say what made it"
    told = {name: Path(text).name for name, text in outputs.items()}
    asked = {name: output.name for name, output in run.outputs.named().items()}
    if told != asked:
        return f"tells of {', '.join(told.values())}, not of {', '.join(asked.values())}"
    return _difference(found, provenance_of_run(plan, answer))


def _read_report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} is not a report ({error}); --overwrite makes all anew") from error
    if not isinstance(report, dict):
        raise OutputError(f"{path} is not a report; --overwrite makes all anew")
    return report


def _tags(path: Path) -> Mapping[str, str]:
    """Read what a raster says of where it comes from."""
    try:
        with rasterio.open(path) as raster:
            tags: dict[str, str] = raster.tags()
    except rasterio.errors.RasterioError as error:
        raise OutputError(f"{path} cannot be read: {error}; --overwrite makes all anew") from error
    return {key: value for key, value in tags.items() if key.startswith(OURS)}


def _difference(found: Mapping[str, str], wanted: Mapping[str, str]) -> str | None:
    """Say how two provenances differ, in words; None if they do not."""
    if found == wanted:
        return None
    if ANSWER_TAG not in found:
        return "does not say what made it"
    other = [
        f"{key} is {found.get(key, 'none')}, not {wanted.get(key, 'none')}"
        for key in dict.fromkeys((*wanted, *found))
        if found.get(key) != wanted.get(key) and key != ANSWER_TAG
    ]
    return "; ".join(other) or "of another scene or area"
