"""``geoseg predict``: a scene through a network to maps and polygons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from geoseg.execute.resume import read_begun
from geoseg.execute.run import execute
from geoseg.plan.plan import Begun, Plan, make_plan
from geoseg.plan.prepare import PathLike, PredictRequest, prepare
from geoseg.plan.settings import ComputeOptions
from geoseg.polygons.borders.options import BorderOptions
from geoseg.progress import Progress, Silent
from geoseg.refine.request import RefineOptions
from geoseg.scene.opening import SceneOptions


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
    polygons: PathLike | None = None,
    confidence: PathLike | None = None,
    model: PathLike | None = None,
    bands: Sequence[str | int] | None = None,
    scale: float | str | None = None,
    aoi: PathLike | None = None,
    sieve: str | None = None,
    simplify: str | None = None,
    overwrite: bool = False,
    nodata: float | None = None,
    offset: float | None = None,
    atmosphere: str = "auto",
    warp: bool = False,
    skip_bad_blocks: bool = False,
    date: str | None = None,
    force: bool = False,
    probabilities: PathLike | None = None,
    stats: Sequence[str] | None = None,
    report: PathLike | None = None,
    chip_size: int | str | None = None,
    overlap: int | None = None,
    tta: str = "none",
    smooth: int | None = None,
    opening: str | None = None,
    closing: str | None = None,
    fill_holes: str | None = None,
    smooth_borders: int | None = None,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
    max_memory: str | int | None = None,
    workers: int | None = None,
    dask: str | None = None,
    concurrency: int | None = None,
    batch_size: int | None = None,
    block_size: int | None = None,
    dry_run: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> PredictResult:
    """Predict a class for every valid pixel of a scene.

    Args:
        scene: A raster of any size that GDAL reads, by path or URL, or several that are one scene.

        **Most used**
        output: The class map; default ``<scene>_classes.tif`` in the current folder.
        polygons: Write polygons here: a format of ``polygonize``, as in ``fields.gpkg``.
        confidence: Write the confidence raster here.
        model: A bundled model's name, or a model package (folder, zip, ``hf://owner/name``); default the
            bundled model that fits the scene.
        bands: The scene's bands in the model's order, by name or 1-based number; default by common name.
        scale: Physical value = stored value * scale + offset, or ``"auto"``: as the files' tags say, else
            their metadata, else the only usual encoding of reflectance that fits the values; default auto.
        aoi: Vector file; only pixels whose centre is inside are mapped.
        sieve: Merge smaller patches into their best neighbour: ``"0.5ha"``, ``"450m2"`` or ``"20px"``.
        simplify: Move borders of polygons by at most this to simplify them: ``"10m"`` or ``"2px"``.
        overwrite: Replace existing files and unfinished work.

        **Input**
        nodata: Stored value that means nodata; default the file's.
        offset: See ``scale``.
        atmosphere: Whether to convert reflectance at the top of the atmosphere to about that of the surface,
            or what else the model reads: ``none``, ``approximate``, or ``auto`` (approximate where metadata
            say that it is needed).
        warp: Bring a scene with GCPs, RPCs or a rotation to a regular north-up grid first.
        skip_bad_blocks: Map a damaged file all the same; blocks that cannot be read are nodata.
        date: Acquisition date, ``YYYY-MM-DD``; default what the scene says.
        force: Run although the scene does not look like the model's. Without ``model``: where none fits, with
            the only bundled model whose bands the scene has.

        **Outputs**
        probabilities: Write the probability raster here.
        stats: Add columns with statistics of bands or indices over the pixels of every polygon: ``"ndvi"``,
            ``"B8:std"``, ``"3:max"`` (mean, std, min, max or count).
        report: Write the run report here, JSON.

        **Model**
        chip_size: Side of a chip in pixels, or ``"auto"``: up to 1536, with the fewest pixels to compute for
            a scene of this size; default the model's. Changes the answer.
        overlap: Pixels that neighbouring chips share, at most half a chip; default the model's.
        tta: Test-time augmentation: ``none``, ``flips`` (four views of every chip) or ``d4`` (eight):
            steadier, and as many times slower.

        **Clean-up**
        smooth: Give every pixel the most frequent class of this many pixels a side around it (odd).
        opening: Remove what is narrower than N pixels from classes, given as ``"corn,water:3"``.
        closing: Fill what is narrower than N pixels between parts of classes, given as ``opening``.
        fill_holes: Fill smaller holes of a class: a size as ``sieve``.
        smooth_borders: Cut the corners of borders this often, 1 to 4 times, after ``simplify``.

        **Speed and memory**
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        backend: What runs the network: ``auto`` (the fastest installed), or a backend by name, such as
            ``torch``; docs/backends.md lists them.
        precision: ``auto`` (bf16 where the device has it), ``fp32``, ``bf16``, ``fp16`` or ``int8`` (a
            quantized network with OpenVINO).
        max_memory: Resident memory that the process, or each worker, may take: ``"4GB"``, ``"2GiB"`` or
            bytes; default half of what is free. Never changes the answer, only blocks and how many
            inferences run at once.
        workers: Compute in this many processes of this machine, each with one thread, instead of this one. A
            script that asks for them must keep its own work under ``if __name__ == "__main__":``.
        dask: Compute on the workers of an existing Dask cluster, given its scheduler's address, as in
            ``tcp://host:8786``; see docs/cluster.md.
        concurrency: Inferences in flight at once; default one for each processor. Never
            changes the answer.
        batch_size: Chips a forward; default 1 on a CPU.
        block_size: Side of a block in pixels. Never changes the answer, only memory.

        **Run**
        dry_run: Only check and plan.
        resume: Go on with unfinished work of a run that was cut short; begin where there is none.
        progress: Shows how far the run is.

    Returns:
        The files that were made, and the report.

    Raises:
        InputError: If a setting or an input is wrong; nothing was written.
        RunError: If the run failed; no output appears under its final name.
    """
    request = PredictRequest(
        scene=scene,
        output=output,
        model=model,
        polygons=polygons,
        confidence=confidence,
        probabilities=probabilities,
        report=report,
        stats=stats,
        aoi=aoi,
        date=date,
        force=force,
        reading=SceneOptions(
            bands=bands,
            nodata=nodata,
            scale=scale,
            offset=offset,
            atmosphere=atmosphere,
            warp=warp,
            skip_bad_blocks=skip_bad_blocks,
        ),
        compute=ComputeOptions(
            chip_size=chip_size,
            overlap=overlap,
            batch_size=batch_size,
            block_size=block_size,
            backend=backend,
            device=device,
            precision=precision,
            tta=tta,
            concurrency=concurrency,
            workers=workers,
            dask=dask,
        ),
        refine=RefineOptions(
            smooth=smooth, opening=opening, closing=closing, fill_holes=fill_holes, sieve=sieve
        ),
        borders=BorderOptions.read(simplify, smooth_borders),
        max_memory=max_memory,
        overwrite=overwrite,
        resume=resume,
        dry_run=dry_run,
    )
    return run_request(request, progress or Silent())


def run_request(request: PredictRequest, progress: Progress) -> PredictResult:
    """Do what ``predict`` was asked for."""
    since = perf_counter()
    prepared = prepare(request, progress)
    for warning in prepared.warnings:
        progress.say(f"warning: {warning}")
    begun = read_begun(prepared) if request.resume else Begun()
    plan = make_plan(prepared, begun, progress)
    for warning in plan.warnings[len(prepared.warnings) :]:
        progress.say(f"warning: {warning}")
    progress.say(plan.summary())
    if request.dry_run:
        return PredictResult({}, plan, plan.to_json())
    report = execute(plan, progress, since)
    return PredictResult(prepared.outputs.named(), plan, report)
