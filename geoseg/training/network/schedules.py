"""Learning-rate schedules as pure functions of the step and the scores so far, without state to resume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from geoseg.training.recipe.settings import ScheduleSettings

_START = 25.0
_END = 1e4
"""one_cycle starts at 1 / 25 of its peak and ends 1e4 below that start, as in torch's OneCycleLR."""


@dataclass(frozen=True)
class RateSchedule:
    """The learning rate as a share of its peak.

    Attributes:
        settings: The recipe's ``[schedule]`` table.
        steps: Optimiser steps of the whole run.
    """

    settings: ScheduleSettings
    steps: int

    @property
    def warm_up(self) -> int:
        """Number of warm-up steps."""
        return round(self.settings.warmup * self.steps)

    def factor(self, step: int, scores: Sequence[float] = ()) -> float:
        """Compute the learning rate of a step as a share of its peak.

        Args:
            step: Optimiser steps done before this one, from 0.
            scores: Validation score of every epoch so far; only plateau uses them.
        """
        if self.settings.name == "one_cycle":
            return self._one_cycle(min(step, self.steps - 1))
        if step < self.warm_up:
            return (step + 1) / (self.warm_up + 1)
        done = min(1.0, (step - self.warm_up) / max(1, self.steps - self.warm_up))
        final = self.settings.final
        if self.settings.name == "cosine":
            return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2
        if self.settings.name == "poly":
            return final + (1 - final) * float((1 - done) ** self.settings.power)
        if self.settings.name == "plateau":
            return float(self.settings.factor ** count_plateaus(scores, self.settings.patience))
        return 1.0

    def _one_cycle(self, step: int) -> float:
        """Rise by half a cosine, fall by half a cosine (Smith and Topin 2018)."""
        top = self.settings.warmup * self.steps - 1
        if step <= top:
            return _between(1 / _START, 1.0, step / top if top else 1.0)
        return _between(1.0, 1 / (_START * _END), (step - top) / (self.steps - 1 - top))


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def count_plateaus(scores: Sequence[float], patience: int) -> int:
    """Count how often more than ``patience`` epochs in a row did not improve on the best score so far."""
    best, waited, plateaus = -math.inf, 0, 0
    for score in scores:
        if score > best:
            best, waited = score, 0
        else:
            waited += 1
        if waited > patience:
            plateaus, waited = plateaus + 1, 0
    return plateaus
