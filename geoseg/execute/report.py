"""The run report: what was done to what, with which settings, how long it took, and what came out."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Any

from geoseg._version import __version__
from geoseg.inference.backends import BACKENDS, backend_kind
from geoseg.inference.tally import Tally
from geoseg.maps.class_map_file import DATE_TAG, ORIGIN_TAG
from geoseg.maps.statistics import ClassStatistics
from geoseg.models.model import Model
from geoseg.plan.plan import Plan
from geoseg.polygons.provenance import table_provenance
from geoseg.polygons.zonal.request import stats_asked
from geoseg.scene.scene import Scene
from geoseg.system.memory import peak_memory

REPORT_VERSION = 2
_PACKAGES = (
    "segmentation-models-pytorch",
    "rasterio",
    "numpy",
    "geopandas",
    "shapely",
)


def versions() -> dict[str, str]:
    """List versions of geoseg, Python and the packages that shape the answer."""
    import rasterio

    found = {"geoseg": __version__, "python": platform.python_version(), "gdal": rasterio.__gdal_version__}
    for package in (*(backend_kind(name).package for name in BACKENDS), *_PACKAGES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def describe_scene(scene: Scene) -> dict[str, Any]:
    """Describe a scene for the report."""
    crs = scene.georeference.crs
    return {
        "name": scene.name,
        "paths": list(scene.paths),
        "crs": None if crs is None else crs.to_string(),
        "gsd": scene.gsd,
        "date": scene.date,
        "bands": [str(band) for band in scene.bands],
    }


def describe_model(model: Model, tta: str) -> dict[str, Any]:
    """Describe a model that is run with a test-time augmentation."""
    card = model.card
    return {
        "name": card.name,
        "version": card.version,
        "hash": model.hash,
        "architecture": card.architecture,
        "encoder": card.encoder,
        "calibrated": tta in card.temperatures,
        "license": card.license,
    }


@dataclass
class RunTotals:
    """What the blocks of a run add up to.

    Attributes:
        blocks: All of them.
        blocks_resumed: Those that were finished by a run that was cut short.
        chips: Chips of the map that went through the network, in this run or before.
        chips_skipped: Chips of the map without a pixel to map.
        lost_pixels: Pixels of the map that are invalid because they lack a band.
        lost_values: Values of bands that are missing at valid pixels.
        tally: What this run did itself.
        peaks: Name of every worker -> the most bytes of memory that it took.
    """

    blocks: int
    blocks_resumed: int
    chips: int = 0
    chips_skipped: int = 0
    lost_pixels: int = 0
    lost_values: int = 0
    tally: Tally = field(default_factory=Tally)
    peaks: dict[str, int] = field(default_factory=dict)

    def note_peak(self, worker: str, peak: int) -> None:
        """Keep how much memory a worker took at most; one that was started again keeps its name."""
        self.peaks[worker] = max(peak, self.peaks.get(worker, 0))

    def add(self, tally: Tally, *, is_resumed: bool) -> None:
        """Count a finished block."""
        self.chips += tally.chips
        self.chips_skipped += tally.chips_skipped
        self.lost_pixels += tally.lost_pixels
        self.lost_values += tally.lost_values
        if not is_resumed:
            self.tally.add(tally)


def report_of_run(
    plan: Plan,
    totals: RunTotals,
    seconds: Mapping[str, float],
    *,
    answer: str,
    statistics: ClassStatistics,
    borders: dict[str, Any] | None,
    left_out: list[dict[str, Any]],
    since: float,
) -> dict[str, Any]:
    """Make the report of a prediction.

    Args:
        plan: The run.
        totals: Its blocks and what they took.
        seconds: Stage -> seconds, of stages that are not in the tally.
        answer: The hash of what its maps depend on (``fingerprint.answer_of``).
        statistics: What the map holds.
        borders: What was done to the borders of polygons, None if nothing.
        left_out: What was left out.
        since: When it began (``perf_counter``).
    """
    run = plan.prepared
    total = perf_counter() - since
    content = {
        "report_version": REPORT_VERSION,
        "scene": describe_scene(run.scene),
        "model": describe_model(run.model, plan.settings.tta) | {"chosen": run.chosen},
        "outputs": {name: os.fspath(path) for name, path in run.outputs.named().items()},
        "settings": plan.settings.to_json()
        | run.request.borders.to_json()
        | run.values.flags()
        | {"values": run.values.said(), "stats": stats_asked(run.zonal)},
        "provenance": provenance_of_run(plan, answer),
        "shape": list(run.window.shape),
        "pixels_valid": statistics.pixels_valid,
        "chips": totals.chips,
        "chips_resumed": totals.chips - totals.tally.chips,
        "chips_skipped": totals.chips_skipped,
        "blocks": totals.blocks,
        "blocks_resumed": totals.blocks_resumed,
        "seconds": {"total": total} | totals.tally.seconds() | dict(seconds),
        "megapixels_per_second": run.window.pixels / 1e6 / total,
        "plan": plan.to_json(),
        "peak_memory_bytes": _peak_here(totals.peaks if run.workers.count else {}),
        "workers": [{"name": name, "peak_memory_bytes": totals.peaks[name]} for name in sorted(totals.peaks)],
        "classes": statistics.rows(),
        "left_out": left_out,
        "warnings": [
            *plan.warnings,
            *_shortage(totals.tally, plan.settings.concurrency),
            *nothing_mapped(plan, statistics),
        ],
        "versions": versions(),
    }
    return content if borders is None else content | {"borders": borders}


def _shortage(tally: Tally, concurrency: int) -> list[str]:
    """Say where memory ran out."""
    if not tally.retried:
        return []
    return [
        f"memory ran out {tally.retried} times: fewer than {concurrency} inferences ran at once after that "
        "(give a smaller --max-memory or --concurrency)"
    ]


def nothing_mapped(plan: Plan, statistics: ClassStatistics) -> list[str]:
    """Say that a map has no pixel."""
    run = plan.prepared
    if statistics.pixels_valid:
        return []
    where = "" if run.area is None else " whose centre is in the area of interest"
    return [f"the map is empty: the scene has no valid pixel{where}"]


def _peak_here(workers: Mapping[str, int]) -> int:
    """Add up what this process and the workers it started took at most, if at different times."""
    return peak_memory() + sum(workers.values())


ANSWER_TAG = "GEOSEG_ANSWER"
"""Tag with a hash of all that a map depends on: scene, model, settings, area, date and version.

What refined it is not in the hash, but in a tag of its own: a map refined later is a map refined at once."""


def provenance(plan: Plan, answer: str) -> dict[str, str]:
    """Give the tags of a map: tag -> text; never a time, a path, or what a run may choose freely.

    Args:
        plan: The run.
        answer: The hash that ``ANSWER_TAG`` holds.
    """
    run = plan.prepared
    tags = {
        "GEOSEG_VERSION": __version__,
        "GEOSEG_MODEL": f"{run.model.card.name} {run.model.card.version}",
        "GEOSEG_MODEL_HASH": run.model.hash,
        ANSWER_TAG: answer,
    }
    if run.date is not None:
        tags[DATE_TAG] = run.date
    if run.area is not None:
        tags[ORIGIN_TAG] = f"{run.window.row},{run.window.col}"
    settings = plan.settings.that_change_the_answer() | run.values.flags()
    return tags | {f"GEOSEG_{key.upper()}": value for key, value in settings.items()}


def provenance_of_polygons(plan: Plan, answer: str) -> dict[str, str]:
    """Give the metadata of the polygons of a run, whatever way they were traced; see ``provenance``."""
    run = plan.prepared
    return table_provenance(provenance(plan, answer), zonal=run.zonal) | run.request.borders.tags()


def provenance_of_run(plan: Plan, answer: str) -> dict[str, str]:
    """Give what the report says of all outputs of a run together; see ``provenance``."""
    run = plan.prepared
    return provenance(plan, answer) if run.outputs.polygons is None else provenance_of_polygons(plan, answer)
