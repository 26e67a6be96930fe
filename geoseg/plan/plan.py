"""What a run is expected to take, said before it starts, and what keeps it within its memory."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geoseg.errors import OutputError, SettingsError
from geoseg.inference.backends import backend_kind
from geoseg.plan.measure import NetworkCost, measured_cost, usual_cost
from geoseg.plan.memory import BASE, MemoryChoice, MemoryEstimate, TracingPlan, choose_blocks, plan_tracing
from geoseg.plan.prepare import Prepared
from geoseg.plan.settings import Settings
from geoseg.plan.size import RunSize, output_bytes, run_size, traced_bands, wall_seconds
from geoseg.progress import Progress
from geoseg.system.memory import default_limit, free_memory, gdal_cache, resident_memory
from geoseg.units import format_memory, parse_memory

_WORTH_MEASURING = 25.0
"""Megapixels in chips from which on a network is measured, although nobody asked for a limit."""
_DISTRIBUTED = 70_000_000
"""What a worker's own parts take."""
_LEAST_ROOM = 0.02
"""Of the scratch space that may be needed, what a run needs in any case: most of a scene may be nodata."""
_COMPRESSED = 0.5
"""Of a map's bytes, what it takes compressed, with overviews, at most: maps of crops take 0.1 to 0.4."""


@dataclass(frozen=True)
class Begun:
    """Unfinished work of an earlier run that this one goes on with.

    Attributes:
        block_size: Side of its blocks: work can only be gone on with in the same ones. None where there is
            none, or the user asked for others.
    """

    block_size: int | None = None


@dataclass(frozen=True)
class Plan:
    """A run that is ready to start, and what it is expected to take.

    Attributes:
        prepared: What it was planned for.
        settings: The final settings.
        size: How large it is.
        blocks: Blocks that it is stitched in.
        memory_estimate: Expected peak of resident memory, by what it is for.
        memory_limit_bytes: What ``--max-memory`` says, or half of what was free.
        margins_on_disk: Whether margins to the next row of blocks wait on disk, not in memory.
        tracing: How polygons are traced, and what they may take; None if there are none.
        disk_bytes: Scratch space beside the class map while the run lasts, at most.
        seconds: Expected wall time.
        measured: Whether memory and seconds of the network were measured on this machine.
        warnings: What the user should know.
    """

    prepared: Prepared
    settings: Settings
    size: RunSize
    blocks: int
    memory_estimate: MemoryEstimate
    memory_limit_bytes: int
    margins_on_disk: bool
    tracing: TracingPlan | None
    disk_bytes: int
    seconds: float
    measured: bool
    warnings: tuple[str, ...]

    @property
    def chips(self) -> int:
        """Chips that cover the map; those without a valid pixel will be skipped."""
        return self.size.chips

    @property
    def computed_per_pixel(self) -> float:
        """Pixels that go through the network for each pixel of the map."""
        return self.size.chips * self.size.chip**2 / self.size.pixels

    @property
    def memory_bytes(self) -> int:
        """Expected peak of resident memory."""
        return self.memory_estimate.total

    def summary(self) -> str:
        """Say the plan in one line."""
        settings, run = self.settings, self.prepared
        rows, cols = run.window.shape
        return (
            f"{run.scene.name}: {rows} x {cols} pixels, {_count(self.size.chips, 'chip')} of "
            f"{settings.chip_size} with {settings.overlap} overlap ({self.computed_per_pixel:.2f} pixels "
            f"computed for each) in {_count(self.blocks, 'block')} of {settings.block_size}, "
            f"model {run.model.card.name}, "
            f"{settings.backend} {settings.device} {settings.precision}, {settings.concurrency} at once, "
            f"about {format_memory(self.memory_estimate.total)} memory of "
            f"{format_memory(self.memory_limit_bytes)}, "
            f"{format_memory(self.disk_bytes)} scratch, "
            f"{_duration(self.seconds)}"
        )

    def to_json(self) -> dict[str, Any]:
        """Give the plan as JSON values."""
        settings = self.settings
        return {
            "scene": self.prepared.scene.name,
            "shape": list(self.prepared.window.shape),
            "chips": self.chips,
            "blocks": self.blocks,
            "computed_per_pixel": self.computed_per_pixel,
            "memory_bytes": self.memory_bytes,
            "memory_limit_bytes": self.memory_limit_bytes,
            "memory": self.memory_estimate.to_json(),
            "disk_bytes": self.disk_bytes,
            "seconds": self.seconds,
            "model": self.prepared.model.card.name,
            "chip_size": settings.chip_size,
            "overlap": settings.overlap,
            "block_size": settings.block_size,
            "concurrency": settings.concurrency,
            "margins_on_disk": self.margins_on_disk,
            "backend": settings.backend,
            "device": settings.device,
            "precision": settings.precision,
            "measured": self.measured,
        }


def make_plan(prepared: Prepared, begun: Begun, progress: Progress) -> Plan:
    """Choose blocks and inferences in flight so that a run stays within its limit, and say what it will take.

    Args:
        prepared: What was prepared.
        begun: Unfinished work that the run goes on with; it decides the blocks.
        progress: Told what takes a while, and what is unusual.

    Raises:
        SettingsError: If the limit is too low, with the least that works.
    """
    size = run_size(prepared)
    cost = _network_cost(prepared, size, progress)
    choice, limit = _choose(prepared, begun, size, cost, progress)
    settings = replace(prepared.settings, block_size=choice.block_size)
    if choice.concurrency < settings.concurrency:
        settings = replace(settings, concurrency=choice.concurrency, concurrency_by="memory")
    disk = _scratch(prepared, size, settings)
    shortage = disk_shortage(disk, prepared.outputs.classes)
    at_once, workers = settings.concurrency, prepared.workers
    if workers.are_elsewhere:  # as far as they are known
        at_once = max(1, workers.count)
    return Plan(
        prepared=prepared,
        settings=settings,
        size=size,
        blocks=len(prepared.grid.blocks(settings.block_size, prepared.window)),
        memory_estimate=choice.estimate,
        memory_limit_bytes=limit,
        margins_on_disk=choice.margins_on_disk,
        tracing=_plan_tracing(prepared, choice.estimate, cost, limit),
        disk_bytes=disk,
        seconds=wall_seconds(size, cost.seconds / settings.batch_size, at_once),
        measured=cost.measured,
        warnings=prepared.warnings if shortage is None else (*prepared.warnings, shortage),
    )


def disk_shortage(planned: int, output: Path) -> str | None:
    """Say what the user should know if a plan asks for more disk than is free; None where it does not.

    A plan names what may be needed at most, so too little is no reason to refuse; a run that does run out of
    room keeps its finished blocks. Hardly any is: such a run cannot end well.

    Args:
        planned: Bytes of scratch space.
        output: The class map, beside which they lie.

    Raises:
        OutputError: If not even a part of them that every run needs is free.
    """
    try:
        free = shutil.disk_usage(output.absolute().parent).free
    except OSError:
        return None
    if planned <= free:
        return None
    if planned * _LEAST_ROOM > free:
        raise OutputError(
            f"{output}: there is no room for it, {format_memory(free)} are free on its disk and the run may "
            f"need {format_memory(planned)}; make room, or write elsewhere"
        )
    return (
        f"the run may need up to {format_memory(planned)} beside {output}, and {format_memory(free)} are "
        "free; --resume goes on if it runs out of room"
    )


def _network_cost(prepared: Prepared, size: RunSize, progress: Progress) -> NetworkCost:
    """Estimate what the network takes in the processes that compute, with all that is loaded there."""
    settings, is_limited = prepared.settings, prepared.request.max_memory is not None
    if is_limited or size.computed >= _WORTH_MEASURING:
        cost = measured_cost(prepared.model, settings, progress, exactly=is_limited)
    else:
        cost = usual_cost(prepared.model, settings)
    if prepared.workers.are_elsewhere:
        return replace(cost, loaded=cost.loaded + _DISTRIBUTED)
    # More may be loaded here than a run needs: torch, to convert a network.
    now, runtime = resident_memory(), backend_kind(settings.backend).package
    expected = cost.loaded if runtime in sys.modules else cost.process
    extra = max(0, now - expected - gdal_cache())
    return replace(cost, loaded=cost.loaded + extra)


def _choose(
    prepared: Prepared, begun: Begun, size: RunSize, cost: NetworkCost, progress: Progress
) -> tuple[MemoryChoice, int]:
    """Choose what fits, and give the limit; without a limit of the user's, all that is free will do."""
    request = prepared.request

    def within(limit: int) -> MemoryChoice:
        return choose_blocks(
            prepared.grid,
            prepared.window,
            size,
            cost,
            limit,
            block_size=request.compute.block_size or begun.block_size,
            concurrency=prepared.settings.concurrency,
            fixed_concurrency=request.compute.concurrency is not None,
            asked_chips=request.compute.chip_size is not None,
            one_at_a_time=prepared.workers.are_elsewhere,
            cache=gdal_cache(),
        )

    if request.max_memory is not None:
        limit = parse_memory(request.max_memory)
        return within(limit), limit
    limit = default_limit() // max(1, prepared.workers.count)  # the workers here share half of what is free
    try:
        return within(limit), limit
    except SettingsError:
        free = free_memory()
        progress.say(f"warning: half of the {format_memory(free)} free is too little; using more of it")
        return within(free), free


def _plan_tracing(
    prepared: Prepared, estimate: MemoryEstimate, cost: NetworkCost, limit: int
) -> TracingPlan | None:
    """Plan how the process that writes polygons traces them, up to which size; None if there are none."""
    if prepared.outputs.polygons is None:
        return None
    if prepared.request.max_memory is None:  # a large polygon is refused only if it cannot work
        limit = max(limit, free_memory())
    width, bands, more = prepared.window.width, traced_bands(prepared), max(0, BASE - cost.process)
    if prepared.workers.are_elsewhere:  # this process does nothing else
        return plan_tracing(limit, None, None, width=width, bands=bands)
    fixed = estimate.program + estimate.cache + more
    plan = plan_tracing(limit, None, None, width=width, bands=bands, fixed=fixed)
    # A polygon as large as the map is put together right after the last block: little of that memory is free,
    # and in pieces.
    return replace(plan, fixed=max(fixed, estimate.total + more))


def _scratch(prepared: Prepared, size: RunSize, settings: Settings) -> int:
    """Count finished blocks, margins on their way, maps that are made or read again, and compressed ones."""
    margins = 4 * size.classes * size.overlap * (size.width + 4 * settings.block_size)
    again = size.maps + 2 if settings.refine is not None else 0  # and the map before and after a step
    compressed = 2 * output_bytes(prepared) * _COMPRESSED
    return int(size.pixels * (size.maps + again + compressed)) + margins


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _duration(seconds: float) -> str:
    """``"40 s"``, ``"12 min"``, ``"3.5 h"``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
