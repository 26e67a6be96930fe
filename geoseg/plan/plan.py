"""What a run is expected to take, said before it starts, and what keeps it within its memory."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from typing import Any

from geoseg.errors import SettingsError
from geoseg.inference.backends.convert import Say
from geoseg.plan.demand import Demand, measured_demand, usual_demand
from geoseg.plan.fit import Choice, chosen, fit, shape_of, traced_bands
from geoseg.plan.footprint import Footprint
from geoseg.plan.polygons_memory import BASE, TracePlan, plan_tracing
from geoseg.plan.prepare import Job
from geoseg.plan.request import PredictRequest
from geoseg.plan.time import Work, cluster_seconds, wall_seconds
from geoseg.system.memory import (
    default_limit,
    free_memory,
    gdal_cache,
    parse_memory,
    resident_memory,
    show_memory,
)

_WORTH_MEASURING = 25e6
"""Pixels in chips from which on a network is measured, although nobody asked for a limit."""
_DISTRIBUTED = 70_000_000
"""What a worker's own parts take."""
_COMPRESSED = 0.5
"""Of a map's bytes, what it takes compressed, with overviews, at most: maps of crops take 0.1 to 0.4."""


@dataclass(frozen=True)
class Plan:
    """The size of a run.

    Attributes:
        scene: The scene's name.
        shape: (rows, columns) to be mapped.
        chips: Chips that cover them; those without a valid pixel will be skipped.
        blocks: Blocks they are stitched in.
        computed_per_pixel: Pixels that go through the network for each pixel of the map.
        memory_bytes: Expected peak of resident memory.
        memory_limit_bytes: What ``--max-memory`` says, or half of what was free.
        memory: The expected peak by what it is for, see ``footprint.Footprint``.
        disk_bytes: Scratch space beside the class map while the run lasts, at most.
        seconds: Expected wall time.
        model: The model's name.
        chip_size: Side of a chip.
        overlap: Pixels that neighbouring chips share.
        block_size: Side of a block.
        forwards: Forwards in flight at once.
        margins_on_disk: Whether margins to the next row of blocks wait on disk, not in memory.
        backend: What runs the network.
        device: Where it runs.
        precision: What it computes in.
        measured: Whether memory and seconds of the network were measured on this machine.
    """

    scene: str
    shape: tuple[int, int]
    chips: int
    blocks: int
    computed_per_pixel: float
    memory_bytes: int
    memory_limit_bytes: int
    memory: dict[str, int]
    disk_bytes: int
    seconds: float
    model: str
    chip_size: int
    overlap: int
    block_size: int
    forwards: int
    margins_on_disk: bool
    backend: str
    device: str
    precision: str
    measured: bool

    def summary(self) -> str:
        """The plan in one line."""
        rows, cols = self.shape
        return (
            f"{self.scene}: {rows} x {cols} pixels, {_count(self.chips, 'chip')} of {self.chip_size} with "
            f"{self.overlap} overlap ({self.computed_per_pixel:.2f} pixels computed for each) in "
            f"{_count(self.blocks, 'block')} of {self.block_size}, model {self.model}, {self.backend} "
            f"{self.device} {self.precision}, {self.forwards} at once, "
            f"about {show_memory(self.memory_bytes)} memory of {show_memory(self.memory_limit_bytes)}, "
            f"{show_memory(self.disk_bytes)} scratch, "
            f"{_duration(self.seconds)}"
        )

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return asdict(self) | {"shape": list(self.shape)}


def plan_run(job: Job, request: PredictRequest, say: Say) -> tuple[Job, Plan]:
    """Choose blocks and forwards in flight so that a run stays within its limit, and say what it will take.

    Args:
        job: What was prepared; its block size stands where the user, or unfinished work, decided it.
        request: What was asked for.
        say: Told what takes a while, and what is unusual.

    Returns:
        The job with what was chosen, and the plan.

    Raises:
        SettingsError: If the limit is too low, with the least that works.
    """
    limit = _limit(job, request)
    chips = _chips(job)
    computed = chips * job.settings.chip_size**2
    is_worth_it = computed >= _WORTH_MEASURING or request.max_memory is not None
    demand = (
        measured_demand(job.model, job.settings, say, exactly=request.max_memory is not None)
        if is_worth_it
        else usual_demand(job.model, job.settings)
    )
    if job.workers.are_elsewhere:
        demand = replace(demand, base=demand.base + _DISTRIBUTED)
    else:
        demand = _with_what_is_loaded(demand, job.settings.backend)
    choice, limit = _choose(job, request, demand, limit, say)
    job = replace(chosen(job, choice), margins_on_disk=choice.margins_on_disk)
    plan = make_plan(job, choice, demand, limit, chips)
    tracing = _plan_tracing(job, choice.footprint, demand, _room(request, limit))
    return replace(job, planned=plan.to_json(), tracing=tracing), plan


def _limit(job: Job, request: PredictRequest) -> int:
    """What each process that computes may take; by default the workers here share half of what is free."""
    if request.max_memory is not None:
        return parse_memory(request.max_memory)
    return default_limit() // max(1, job.workers.count)


def _room(request: PredictRequest, limit: int) -> int:
    """What polygons may take; where nobody set a limit, a large one is refused only if it cannot work."""
    return limit if request.max_memory is not None else max(limit, free_memory() or 0)


def _plan_tracing(job: Job, needed: Footprint, demand: Demand, limit: int) -> TracePlan | None:
    """How polygons are traced, and up to which size, in the process that writes them; None if none are."""
    if job.outputs.polygons is None:
        return None
    fixed = None  # where workers compute, this process does nothing else
    if not job.workers.are_elsewhere:
        fixed = needed.program + needed.cache + max(0, BASE - demand.bare)
    plan = plan_tracing(limit, None, None, width=job.window.width, bands=traced_bands(job), fixed=fixed)
    if fixed is None:
        return plan
    # A polygon as large as the map is put together right after the last block: little of that memory is free,
    # and in pieces.
    return replace(plan, fixed=max(fixed, needed.total + max(0, BASE - demand.bare)))


def make_plan(job: Job, choice: Choice, demand: Demand, limit: int, chips: int) -> Plan:
    """The size of a run whose settings stand."""
    settings = job.settings
    blocks = len(job.grid.blocks(settings.block_size, job.window))
    shape = shape_of(job, _map_bytes(job), streamed=_streamed_bytes(job))
    work = Work(
        pixels=job.window.pixels,
        chips=chips,
        chip=settings.chip_size,
        bands=shape.bands,
        itemsize=shape.itemsize,
        classes=shape.classes,
        maps=shape.maps,
        blocks=blocks,
        block=settings.block_size,
        overlap=settings.overlap,
        polygons=job.outputs.polygons is not None,
    )
    return Plan(
        scene=job.scene.name,
        shape=job.window.shape,
        chips=chips,
        blocks=blocks,
        computed_per_pixel=chips * settings.chip_size**2 / job.window.pixels,
        memory_bytes=choice.footprint.total,
        memory_limit_bytes=limit,
        memory=choice.footprint.to_json(),
        disk_bytes=_scratch(job),
        seconds=_seconds(job, work, demand.seconds / settings.batch_size),
        model=job.model.card.name,
        chip_size=settings.chip_size,
        overlap=settings.overlap,
        block_size=settings.block_size,
        forwards=settings.forwards,
        margins_on_disk=choice.margins_on_disk,
        backend=settings.backend,
        device=settings.device,
        precision=settings.precision,
        measured=demand.measured,
    )


def _seconds(job: Job, work: Work, forward: float) -> float:
    if job.workers.are_elsewhere:
        return cluster_seconds(work, forward, max(1, job.workers.count))
    return wall_seconds(work, forward, job.settings.forwards)


def _choose(job: Job, request: PredictRequest, demand: Demand, limit: int, say: Say) -> tuple[Choice, int]:
    """What fits, and into what; without a limit of the user's, all that is free will do."""
    settings, is_worker = job.settings, job.workers.are_elsewhere

    def within(bytes_: int) -> Choice:
        return fit(
            job.grid,
            job.window,
            shape_of(job, _map_bytes(job), streamed=_streamed_bytes(job)),
            demand,
            bytes_,
            block_size=settings.block_size if request.block_size or job.begun else None,
            forwards=settings.forwards,
            fixed_forwards=request.forwards is not None,
            asked_chips=request.chip_size is not None,
            one_at_a_time=is_worker,
            cache=gdal_cache(),
        )

    try:
        return within(limit), limit
    except SettingsError:
        free = free_memory()
        if request.max_memory is not None or free is None:
            raise
        say(f"warning: half of the {show_memory(free)} that are free is too little; using more of it")
        return within(free), free


def _with_what_is_loaded(demand: Demand, backend: str) -> Demand:
    """The demand in this process, where more may be loaded than a run needs: torch, to convert a network."""
    now, runtime = resident_memory(), {"onnx": "onnxruntime"}.get(backend, backend)
    expected = demand.base if runtime in sys.modules else demand.bare
    extra = 0 if now is None else max(0, now - expected - gdal_cache())
    return replace(demand, base=demand.base + extra)


def _chips(job: Job) -> int:
    blocks = job.grid.blocks(job.settings.block_size, job.window)
    return sum((block.chips[2] - block.chips[0]) * (block.chips[3] - block.chips[1]) for block in blocks)


def _map_bytes(job: Job) -> int:
    """Bytes a pixel of all maps that are made: polygons and refine steps need all of them."""
    if job.outputs.polygons is not None or job.settings.refine is not None:
        return 2 + len(job.model.classes)
    return _output_bytes(job)


def _output_bytes(job: Job) -> int:
    counts = {"classes": 1, "confidence": 1, "probabilities": len(job.model.classes)}
    return sum(counts[name] for name in job.outputs.rasters)


def _streamed_bytes(job: Job) -> int:
    """Bytes a pixel of the maps that are compressed while they are made; those to be refined wait."""
    return 0 if job.settings.refine is not None else _output_bytes(job)


def _scratch(job: Job) -> int:
    """Finished blocks, margins on their way, maps that are being made or read again, and compressed ones."""
    maps, pixels, settings = _map_bytes(job), job.window.pixels, job.settings
    margins = 4 * len(job.model.classes) * settings.overlap * (job.window.width + 4 * settings.block_size)
    again = maps + 2 if settings.refine is not None else 0  # and the map before and after a step
    return int(pixels * (maps + again + 2 * _output_bytes(job) * _COMPRESSED)) + margins


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _duration(seconds: float) -> str:
    """``"40 s"``, ``"12 min"``, ``"3.5 h"``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
