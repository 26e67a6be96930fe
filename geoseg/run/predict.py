"""``geoseg predict``: a scene through a network to maps and polygons."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from geoseg._version import __version__
from geoseg.inference.normalise import Normalisation
from geoseg.inference.stitcher import StitchedBlock, Stitcher
from geoseg.maps.decide import decide
from geoseg.maps.kinds import ClassMap, ConfidenceMap, MapKind, ProbabilityMap
from geoseg.maps.writer import MapWriter, StagedFile
from geoseg.polygons.rasters import DATE_TAG, ORIGIN_TAG
from geoseg.polygons.surface import measure_surface
from geoseg.run.borders import borders_of, borders_to_json
from geoseg.run.outputs import discard, publish, work_folder
from geoseg.run.plan import Plan, make_plan
from geoseg.run.polygons import polygons_of_run
from geoseg.run.prepare import Job, PathLike, prepare
from geoseg.run.progress import Progress, Silent
from geoseg.run.refine_run import refine_run
from geoseg.run.refinement import REFINE_TAG
from geoseg.run.report import (
    REPORT_VERSION,
    describe_model,
    describe_scene,
    peak_memory,
    versions,
    write_json,
)
from geoseg.run.settings import make_backend
from geoseg.run.statistics import ClassStatistics


@dataclass(frozen=True)
class PredictResult:
    """What a run made.

    Attributes:
        outputs: Name -> path of every file that was asked for: ``classes``, ``confidence``,
            ``probabilities``, ``polygons``, ``report``. Empty after a dry run.
        plan: What the run was expected to take.
        report: The content of the run report.
    """

    outputs: Mapping[str, Path]
    plan: Plan
    report: Mapping[str, Any] = field(repr=False)


def predict(
    scene: PathLike | Sequence[PathLike],
    output: PathLike | None = None,
    *,
    model: PathLike | None = None,
    polygons: PathLike | None = None,
    confidence: PathLike | None = None,
    probabilities: PathLike | None = None,
    bands: Sequence[str | int] | None = None,
    aoi: PathLike | None = None,
    date: str | None = None,
    nodata: float | None = None,
    scale: float | None = None,
    offset: float | None = None,
    warp: bool = False,
    force: bool = False,
    chip_size: int | None = None,
    overlap: int | None = None,
    batch_size: int | None = None,
    block_size: int | None = None,
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    tta: str = "none",
    forwards: int | None = None,
    smooth: int | None = None,
    opening: str | None = None,
    closing: str | None = None,
    fill_holes: str | float | None = None,
    sieve: str | float | None = None,
    simplify: str | float | None = None,
    smooth_borders: int | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    report: PathLike | None = None,
    progress: Progress | None = None,
) -> PredictResult:
    """Predict a class for every valid pixel of a scene.

    Args:
        scene: A raster of any size that GDAL reads, by path or URL, or several that are one scene.
        output: The class map; default ``<scene>_classes.tif`` in the current folder.
        model: A bundled model's name, or a model package (folder, zip, ``hf://owner/name``); default the
            bundled model that fits the scene.
        polygons: Write polygons here: a format of ``polygonize``, as in ``fields.gpkg``.
        confidence: Write the confidence raster here.
        probabilities: Write the probability raster here.
        bands: The scene's bands in the model's order, by name or 1-based number; default by common name.
        aoi: Vector file; only pixels whose centre is inside are mapped.
        date: Acquisition date, ``YYYY-MM-DD``; default what the scene says.
        nodata: Stored value that means nodata; default the file's.
        scale: Physical value = stored value * scale + offset; default the file's tags.
        offset: See ``scale``.
        warp: Bring a scene with GCPs, RPCs or a rotation to a regular north-up grid first.
        force: Run although the scene does not look like the model's. Without ``model``: where none fits, with
            the only bundled model whose bands the scene has.
        chip_size: Side of a chip in pixels; default the model's. Changes the answer.
        overlap: Pixels that neighbouring chips share, at most half a chip; default the model's.
        batch_size: Chips a forward; default 1 on a CPU.
        block_size: Side of a block in pixels. Never changes the answer, only memory.
        backend: What runs the network: ``auto`` (the fastest installed), ``torch``, ``openvino`` or
            ``onnx``; see docs/backends.md.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``auto`` (bf16 where the device has it), ``fp32``, ``bf16``, ``fp16`` or ``int8`` (a
            quantized network with OpenVINO).
        tta: Test-time augmentation: ``none``, ``flips`` (four views of every chip) or ``d4`` (eight):
            steadier, and as many times slower.
        forwards: Forwards in flight at once; default one a core. Never changes the answer.
        smooth: Give every pixel the most frequent class of this many pixels a side around it (odd).
        opening: Remove what is narrower than N pixels from classes, given as ``"corn,water:3"``.
        closing: Fill what is narrower than N pixels between parts of classes, given as ``opening``.
        fill_holes: Fill smaller holes of a class: ``"0.5ha"``, ``"450m2"``, ``"20px"`` or hectares.
        sieve: Merge smaller patches into their best neighbour: a size as ``fill_holes``.
        simplify: Move borders of polygons by at most this to simplify them: ``"10m"``, ``"2px"`` or metres.
        smooth_borders: Then cut the corners of borders this often, 1 to 4 times.
        overwrite: Replace existing files.
        dry_run: Only check and plan.
        report: Write the run report here, JSON.
        progress: Shows how far the run is.

    Returns:
        The files that were made, and the report.

    Raises:
        InputError: If a setting or an input is wrong; nothing was written.
        RunError: If the run failed; no output appears under its final name.
    """
    since = perf_counter()
    progress = progress or Silent()
    job = prepare(
        scene,
        output,
        model=model,
        polygons=polygons,
        confidence=confidence,
        probabilities=probabilities,
        report=report,
        bands=bands,
        aoi=aoi,
        date=date,
        nodata=nodata,
        scale=scale,
        offset=offset,
        warp=warp,
        force=force,
        chip_size=chip_size,
        overlap=overlap,
        batch_size=batch_size,
        block_size=block_size,
        backend=backend,
        device=device,
        precision=precision,
        tta=tta,
        forwards=forwards,
        refine={
            "smooth": smooth,
            "opening": opening,
            "closing": closing,
            "fill_holes": fill_holes,
            "sieve": sieve,
        },
        borders=borders_of(simplify, smooth_borders),
        overwrite=overwrite,
        say=progress.say,
    )
    for warning in job.warnings:
        progress.say(f"warning: {warning}")
    plan = make_plan(job)
    progress.say(plan.summary())
    if dry_run:
        return PredictResult({}, plan, plan.to_json())
    content = _run(job, progress, since)
    return PredictResult(job.outputs.named(), plan, content)


@dataclass
class _Maps:
    """The rasters of a run while they are written."""

    writers: dict[str, MapWriter]
    statistics: ClassStatistics
    seconds: float = 0.0
    borders: dict[str, Any] | None = None

    def add(self, stitched: StitchedBlock, job: Job) -> None:
        window = stitched.block.core.intersection(job.window)
        if window is None or stitched.sums is None:
            return
        since = perf_counter()
        inside = window.slices(stitched.block.core)
        decision = decide(stitched.sums[(slice(None), *inside)], stitched.valid[inside])
        self.statistics.add(window, decision)
        for writer in self.writers.values():
            writer.write(window, writer.kind.render(decision))
        self.seconds += perf_counter() - since


def _run(job: Job, progress: Progress, since: float) -> dict[str, Any]:
    staged: list[StagedFile] = []
    with ExitStack() as cleanup:
        cleanup.callback(lambda: discard(staged))
        scratch = cleanup.enter_context(work_folder(job.outputs.work_folder, overwrite=job.overwrite))
        maps = _open_maps(job, scratch)
        for writer in maps.writers.values():
            cleanup.callback(writer.close)
        stitcher = _make_stitcher(job)
        blocks = job.grid.blocks(job.settings.block_size, job.window)
        with progress.stage("predicting", job.window.pixels / 1e6, "Mpx") as bar:
            for stitched in stitcher.run(blocks, job.settings.forwards):
                maps.add(stitched, job)
                done = stitched.block.core.intersection(job.window)
                bar.advance(done.pixels / 1e6 if done else 0.0)
        seconds = {"polygons": 0.0}
        rasters = {name: writer.close() for name, writer in maps.writers.items()}
        if job.settings.refine is not None:
            began = perf_counter()
            maps.statistics = refine_run(job, rasters, maps.statistics, progress)
            seconds["refine"] = perf_counter() - began
        if job.outputs.polygons is not None:
            began = perf_counter()
            files, maps.borders = polygons_of_run(job, rasters, progress)
            staged += files
            seconds["polygons"] = perf_counter() - began
        began = perf_counter()
        for name, writer in maps.writers.items():
            if name in job.outputs.rasters:
                progress.say(f"finishing {writer.final}")
                staged += writer.finish()
        publish(staged)
        seconds["write"] = maps.seconds + perf_counter() - began
        staged.clear()
    content = _report(job, stitcher, maps, seconds, len(blocks), since)
    if maps.borders is not None:
        content["borders"] = maps.borders
    if job.outputs.report is not None:
        write_json(job.outputs.report, content)
    return content


def _open_maps(job: Job, scratch: Path) -> _Maps:
    classes = job.model.classes
    kinds: tuple[MapKind, ...] = (ClassMap(classes), ConfidenceMap(), ProbabilityMap(classes))
    finals = job.outputs.rasters
    is_read_again = job.outputs.polygons is not None or job.settings.refine is not None
    wanted = [kind for kind in kinds if kind.name in finals or is_read_again]
    tags = provenance(job)
    not_refined = {key: value for key, value in tags.items() if key != REFINE_TAG}
    georeference = job.scene.georeference
    writers = {
        kind.name: MapWriter(
            kind,
            finals.get(kind.name, scratch / "unused.tif"),
            scratch,
            job.window,
            georeference,
            not_refined if kind.name == "probabilities" else tags,
        )
        for kind in wanted
    }
    origin = (job.window.row, job.window.col)
    surface = measure_surface(
        georeference.crs, writers["classes"].georeference.transform, job.window.shape, origin
    )
    return _Maps(writers, ClassStatistics(classes, job.window, surface))


def _make_stitcher(job: Job) -> Stitcher:
    card = job.model.card
    return Stitcher(
        source=job.scene,
        backend=make_backend(job.model, job.settings),
        grid=job.grid,
        normalisation=Normalisation(card.means, card.stds),
        classes=len(card.classes),
        area=None if job.area is None else job.area.mask,
    )


def provenance(job: Job) -> dict[str, str]:
    """The tags of a map: what changed the answer, and nothing else."""
    tags = {
        "GEOSEG_VERSION": __version__,
        "GEOSEG_MODEL": f"{job.model.card.name} {job.model.card.version}",
        "GEOSEG_MODEL_HASH": job.model.hash,
    }
    if job.date is not None:
        tags[DATE_TAG] = job.date
    if job.area is not None:
        tags[ORIGIN_TAG] = f"{job.window.row},{job.window.col}"
    return tags | {f"GEOSEG_{k.upper()}": v for k, v in job.settings.that_change_the_answer().items()}


def _report(
    job: Job, stitcher: Stitcher, maps: _Maps, seconds: dict[str, float], blocks: int, since: float
) -> dict[str, Any]:
    tally = stitcher.tally
    total = perf_counter() - since
    busy = {"read": tally.read, "forward": tally.forward, "stitch": tally.stitch} | seconds
    return {
        "report_version": REPORT_VERSION,
        "scene": describe_scene(job.scene) | {"date": job.date},
        "model": describe_model(job.model, job.settings.tta) | {"chosen": job.chosen},
        "outputs": {name: os.fspath(path) for name, path in job.outputs.named().items()},
        "settings": job.settings.to_json() | borders_to_json(job.borders),
        "shape": list(job.window.shape),
        "pixels_valid": maps.statistics.pixels_valid,
        "chips": tally.chips,
        "chips_skipped": tally.chips_skipped,
        "blocks": blocks,
        "blocks_resumed": 0,
        "seconds": {"total": total} | busy,
        "megapixels_per_second": job.window.pixels / 1e6 / total,
        "peak_memory_bytes": peak_memory(),
        "classes": maps.statistics.rows(),
        "warnings": list(job.warnings),
        "versions": versions(),
    }
