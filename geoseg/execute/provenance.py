"""What made the files of a run: what changed the answer, and nothing else."""

from __future__ import annotations

from geoseg._version import __version__
from geoseg.plan.prepare import Job
from geoseg.polygons.borders.request import border_tags
from geoseg.polygons.provenance import table_provenance
from geoseg.polygons.rasters import DATE_TAG, ORIGIN_TAG

ANSWER_TAG = "GEOSEG_ANSWER"
"""Tag with a hash of all that a map depends on: scene, model, settings, area, date and version.

What refined it is not in the hash, but in a tag of its own: a map refined later is a map refined at once."""


def provenance(job: Job, answer: str) -> dict[str, str]:
    """The tags of a map: tag -> text; never a time, a path, or what a run may choose freely.

    Args:
        job: The run.
        answer: The hash that ``ANSWER_TAG`` holds.
    """
    tags = {
        "GEOSEG_VERSION": __version__,
        "GEOSEG_MODEL": f"{job.model.card.name} {job.model.card.version}",
        "GEOSEG_MODEL_HASH": job.model.hash,
        ANSWER_TAG: answer,
    }
    if job.date is not None:
        tags[DATE_TAG] = job.date
    if job.area is not None:
        tags[ORIGIN_TAG] = f"{job.window.row},{job.window.col}"
    return tags | {f"GEOSEG_{k.upper()}": v for k, v in job.settings.that_change_the_answer().items()}


def provenance_of_polygons(job: Job, answer: str) -> dict[str, str]:
    """What the metadata of the polygons of a run say, whatever way they were traced; see ``provenance``."""
    return table_provenance(provenance(job, answer), zonal=job.zonal) | border_tags(job.borders)


def provenance_of_run(job: Job, answer: str) -> dict[str, str]:
    """What the report says of all outputs of a run together; see ``provenance``."""
    return provenance(job, answer) if job.outputs.polygons is None else provenance_of_polygons(job, answer)
