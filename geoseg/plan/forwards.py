"""How many forwards run at once where a core runs two threads: one a logical processor, or one a core?

Two threads of a core share its units and caches: for some networks two forwards a core are faster than one,
for others slower. So where the system tells of such threads a few forwards are run both ways, in turns, once
for a network, shape, precision and processor. How many run at once never changes an answer.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from geoseg.inference.backends.convert import Say
from geoseg.inference.backends.protocol import Backend
from geoseg.models import Model
from geoseg.plan.measured import (
    Figures,
    keep_figures,
    key_of,
    measure_elsewhere,
    of_own_chips,
    recall_figures,
)
from geoseg.plan.plan import Plan, plan_run
from geoseg.plan.prepare import Job
from geoseg.plan.request import PredictRequest
from geoseg.plan.settings import Settings, make_backend
from geoseg.system.cpu import physical_cores

Rate = Callable[[int], float]
"""Forwards a second with so many in flight."""

_TURNS = 2
_CLEARLY = 1.1
"""How much faster fewer forwards must be, in every turn: a noisy moment must not slow all later runs."""
_SECONDS = 0.2
"""That a turn takes, or one forward where that takes longer."""
_WORTH_MEASURING = 20
"""Forwards, one after the other, of a run from which on it is worth the time of five or six."""
_REVISION = 1
"""To be raised when something else is measured."""


def plan_with_fastest_forwards(job: Job, request: PredictRequest, say: Say) -> tuple[Job, Plan]:
    """Plan a run with as many forwards in flight as are fastest, of those that its memory allows.

    Args:
        job: What was prepared.
        request: What was asked for.
        say: Told what takes a while, and what is unusual.

    Returns:
        The job with what was chosen, and the plan.

    Raises:
        SettingsError: If the limit of memory is too low, with the least that works.
    """
    planned, plan = plan_run(job, request, say)
    if planned.settings.forwards_by not in ("cores", "memory"):
        return planned, plan
    count = fastest(planned.model, planned.settings, plan.chips, say)
    if count is None:
        return planned, plan
    measured = replace(planned.settings, forwards_by="measured")
    if count == planned.settings.forwards:
        return replace(planned, settings=measured), plan
    settings = replace(job.settings, forwards=count, forwards_by="measured")
    return plan_run(replace(job, settings=settings), request, _say_no_more)


def fastest(model: Model, settings: Settings, chips: int, say: Say) -> int | None:
    """How many forwards in flight are fastest: kept, else measured now in a process of its own.

    Args:
        model: The model.
        settings: The run's; ``forwards`` is the most that may be in flight.
        chips: Of the run.
        say: Told when something is measured.

    Returns:
        The number; None where there is nothing to choose from, or nothing could be measured.
    """
    candidates = candidates_for(settings.forwards, physical_cores())
    if len(candidates) == 1:
        return None
    settings = of_own_chips(model, settings)
    key = key_of("forwards", model, settings, candidates, _REVISION)
    kept = (recall_figures(key) or {}).get("forwards")
    if kept in candidates:
        return int(kept)
    if chips < _WORTH_MEASURING * settings.forwards * settings.batch_size:
        return None
    numbers = " or ".join(map(str, candidates))
    say(f"measuring whether {numbers} forwards at once are faster, once (some seconds)")
    try:
        found = measure_elsewhere(measure_here, model, replace(settings, tta="none"))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    keep_figures(key, found)
    return int(found["forwards"])


def candidates_for(most: int, physical: int | None) -> tuple[int, ...]:
    """The numbers of forwards in flight that may be fastest, the most first.

    Args:
        most: Processors, or fewer where memory allows no more.
        physical: Cores that they lie on; None where that is not known.
    """
    return (most,) if physical is None or physical >= most else (most, physical)


def choose_forwards(candidates: Sequence[int], rate: Rate) -> Figures:
    """Choose between numbers of forwards in flight.

    Args:
        candidates: The most first; others win only if they are clearly faster in every turn.
        rate: Measures one.

    Returns:
        ``forwards``, the one to use, and ``rates``, what was measured: a list a turn, in order of the
        candidates.
    """
    turns = []
    for number in range(_TURNS):  # there and back, so that what gets faster or slower hits all alike
        order = candidates if number % 2 == 0 else candidates[::-1]
        found = {count: rate(count) for count in order}
        turns.append([found[count] for count in candidates])
    gains = [min(turn[place] / turn[0] for turn in turns) for place in range(len(candidates))]
    best = max(range(len(candidates)), key=gains.__getitem__)
    return {"forwards": candidates[best if gains[best] >= _CLEARLY else 0], "rates": turns}


def measure_here(model: Model, settings: Settings) -> Figures:
    """``choose_forwards`` for a network, in this process."""
    backend = make_backend(model, settings)
    shape = (settings.batch_size, len(model.bands), settings.chip_size, settings.chip_size)
    chips = np.random.default_rng(0).standard_normal(shape, np.float32)
    with ThreadPoolExecutor(settings.forwards, initializer=backend.prepare_thread) as pool:

        def rate(count: int) -> float:
            running = [pool.submit(_rate_of_one, backend, chips) for _ in range(count)]
            return sum(one.result() for one in running)

        rate(settings.forwards)  # the first forward of each prepares it
        return choose_forwards(candidates_for(settings.forwards, physical_cores()), rate)


def _rate_of_one(backend: Backend, chips: NDArray[np.float32]) -> float:
    """Forwards a second of one thread, beside whatever else runs."""
    since, count, seconds = perf_counter(), 0, 0.0
    while seconds < _SECONDS:
        backend.probabilities(chips.copy())
        count, seconds = count + 1, perf_counter() - since
    return count / seconds


def _say_no_more(_message: str) -> None:
    """What a second plan would say was said by the first."""
