"""``--resume``: how a run goes on where another was cut short, and what it does when all is done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import rasterio

from geoseg.errors import OutputError, SettingsError
from geoseg.execute.fingerprint import BLOCK_SIZE
from geoseg.execute.provenance import ANSWER_TAG, provenance, provenance_of_polygons, provenance_of_run
from geoseg.execute.work_folder import read_fingerprint
from geoseg.plan.prepare import Job
from geoseg.plan.request import PredictRequest
from geoseg.polygons.writers.provenance import OURS, read_provenance
from geoseg.refine.request import REFINE_TAG


def as_begun(job: Job, request: PredictRequest) -> Job:
    """A job in the blocks that its unfinished work was begun with, unless the user asked for others.

    Blocks never change the answer, but work can only be gone on with in the same ones.
    """
    begun = read_fingerprint(job.outputs.work_folder) if request.resume else None
    if begun is None or request.block_size is not None:
        return job
    try:
        size = int(begun[BLOCK_SIZE])
    except (KeyError, ValueError):
        return job
    return replace(job, begun=True, settings=replace(job.settings, block_size=size))


def check_flags(request: PredictRequest) -> None:
    """Refuse flags that contradict each other.

    Raises:
        SettingsError: If unfinished work is both to be gone on with and to be removed.
    """
    if request.resume and request.overwrite:
        raise SettingsError("--resume goes on with unfinished work, --overwrite removes it; give one of them")


def is_finished(job: Job, answer: str) -> bool:
    """Whether all outputs are there already, as this run would make them: each file says what made it.

    Args:
        job: The run, which was asked to resume.
        answer: The hash of what its maps depend on (``fingerprint.answer_of``).

    Raises:
        OutputError: If files are in the way that are not what this run would make, or cannot say so.
    """
    outputs = job.outputs.named()
    there = [path for path in outputs.values() if path.exists()]
    if job.outputs.work_folder.exists() or not there:
        return False
    found = [f"{path} is missing" for path in outputs.values() if path not in there]
    if not found:
        found = _all_unlike(job, answer)
    if found:
        raise OutputError(
            f"--resume: there is no unfinished work, and {there[0]} is not of a finished run like this "
            f"({'; '.join(found)}); --overwrite makes all anew"
        )
    return True


def finished_report(job: Job) -> dict[str, Any]:
    """The report of the run that made the outputs, where it wrote one; else what is sure."""
    if job.outputs.report is not None:
        return _read_report(job.outputs.report)
    return {"outputs": {name: str(path) for name, path in job.outputs.named().items()}}


def _all_unlike(job: Job, answer: str) -> list[str]:
    """How the outputs differ from what this run would make; files that differ alike are named together."""
    reasons: dict[str, list[str]] = {}
    for name, path in job.outputs.named().items():
        reason = _unlike(job, answer, name, path)
        if reason is not None:
            reasons.setdefault(reason, []).append(str(path))
    return [f"{', '.join(paths)}: {reason}" for reason, paths in reasons.items()]


def _unlike(job: Job, answer: str, name: str, path: Path) -> str | None:
    """How an output differs from what this run would make; None if it does not."""
    if name == "report":
        return _unlike_report(job, answer, path)
    if name == "polygons":
        try:
            found = read_provenance(path)
        except OutputError as error:
            raise OutputError(f"{error}; --overwrite makes all anew") from error
        if found is None:
            return f"{path.suffix} has no place to say what made it, so nobody can tell"
        return _difference(found, provenance_of_polygons(job, answer))
    wanted = provenance(job, answer)
    if name == "probabilities":  # they are never refined
        wanted.pop(REFINE_TAG, None)
    return _difference(_tags(path), wanted)


def _unlike_report(job: Job, answer: str, path: Path) -> str | None:
    report = _read_report(path)
    found, outputs = report.get("provenance"), report.get("outputs")
    if not isinstance(found, dict) or not isinstance(outputs, dict):
        return "does not say what made it"
    told = {name: Path(text).name for name, text in outputs.items()}
    asked = {name: output.name for name, output in job.outputs.named().items()}
    if told != asked:
        return f"tells of {', '.join(told.values())}, not of {', '.join(asked.values())}"
    return _difference(found, provenance_of_run(job, answer))


def _read_report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} is not a report ({error}); --overwrite makes all anew") from error
    if not isinstance(report, dict):
        raise OutputError(f"{path} is not a report; --overwrite makes all anew")
    return report


def _tags(path: Path) -> Mapping[str, str]:
    """What a raster says of where it comes from."""
    try:
        with rasterio.open(path) as raster:
            tags: dict[str, str] = raster.tags()
    except rasterio.errors.RasterioError as error:
        raise OutputError(f"{path} cannot be read: {error}; --overwrite makes all anew") from error
    return {key: value for key, value in tags.items() if key.startswith(OURS)}


def _difference(found: Mapping[str, str], wanted: Mapping[str, str]) -> str | None:
    """What of two provenances differs, in words; None if nothing does."""
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
