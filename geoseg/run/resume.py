"""``--resume``: how a run goes on where another was cut short, and what it does when all is done."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import rasterio

from geoseg.errors import OutputError, SettingsError
from geoseg.run.fingerprint import BLOCK_SIZE
from geoseg.run.prepare import Job
from geoseg.run.provenance import ANSWER_TAG, provenance
from geoseg.run.refinement import REFINE_TAG
from geoseg.run.request import PredictRequest
from geoseg.run.work_folder import read_fingerprint


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
    """Whether all outputs are there already, as this run would make them.

    Args:
        job: The run, which was asked to resume.
        answer: The hash of what its maps depend on (``fingerprint.answer_of``).

    Raises:
        OutputError: If files are in the way that are not what this run would make.
    """
    outputs = job.outputs.named()
    there = [path for path in outputs.values() if path.exists()]
    if job.outputs.work_folder.exists() or not there:
        return False
    missing = [f"{path} is missing" for path in outputs.values() if path not in there]
    found = [_unlike(job, answer, str(path)) for path in job.outputs.rasters.values() if path in there]
    reasons = [reason for reason in (*missing, *found) if reason is not None]
    if reasons:
        raise OutputError(
            f"--resume: there is no unfinished work, and {there[0]} is not of a finished run like this "
            f"({'; '.join(reasons)}); --overwrite makes all anew"
        )
    return True


def finished_report(job: Job) -> dict[str, Any]:
    """The report of the run that made the outputs, where it wrote one; else what is sure."""
    path = job.outputs.report
    if path is not None:
        try:
            report: dict[str, Any] = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise OutputError(f"{path} is not a report ({error}); --overwrite makes all anew") from error
        return report
    return {"outputs": {name: str(path) for name, path in job.outputs.named().items()}}


def _unlike(job: Job, answer: str, path: str) -> str | None:
    """How a raster differs from what this run would make; None if it does not."""
    try:
        with rasterio.open(path) as raster:
            tags = raster.tags()
    except rasterio.errors.RasterioError as error:
        return f"{path} cannot be read: {error}"
    wanted = provenance(job, answer)
    if path == str(job.outputs.probabilities):  # they are never refined
        wanted.pop(REFINE_TAG, None)
    if all(tags.get(key) == wanted.get(key) for key in (ANSWER_TAG, REFINE_TAG)):
        return None
    other = [
        f"{key} is {tags.get(key, 'missing')}, not {value}"
        for key, value in wanted.items()
        if tags.get(key) != value and key != ANSWER_TAG
    ]
    return f"{path}: {'; '.join(other) or 'of another scene or area'}"
