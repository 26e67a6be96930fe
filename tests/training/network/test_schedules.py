"""Learning rates against torch's own schedulers and against formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from geoseg.training.network.schedules import RateSchedule, count_plateaus
from geoseg.training.recipe.settings import SCHEDULES, ScheduleSettings

STEPS = 200


def factors(name, **options):
    schedule = RateSchedule(ScheduleSettings(name=name, **options), STEPS)
    return np.array([schedule.factor(step) for step in range(STEPS)])


def of_torch(make, steps=STEPS):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimiser)
    rates = []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return np.array(rates)


def test_cosine_agrees_with_torch():
    expected = of_torch(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.05))
    np.testing.assert_allclose(factors("cosine", warmup=0.0, final=0.05), expected, rtol=1e-6)


def test_poly_agrees_with_torch():
    expected = of_torch(lambda o: torch.optim.lr_scheduler.PolynomialLR(o, STEPS, power=0.7))
    np.testing.assert_allclose(factors("poly", warmup=0.0, final=0.0, power=0.7), expected, rtol=1e-6)


@pytest.mark.parametrize("warmup", [0.1, 0.3])
def test_one_cycle_agrees_with_torch(warmup):
    expected = of_torch(
        lambda o: torch.optim.lr_scheduler.OneCycleLR(
            o, max_lr=1.0, total_steps=STEPS + 1, pct_start=warmup, cycle_momentum=False
        )
    )
    schedule = RateSchedule(ScheduleSettings(name="one_cycle", warmup=warmup), STEPS + 1)
    np.testing.assert_allclose([schedule.factor(step) for step in range(STEPS)], expected, rtol=1e-6)


def test_plateau_agrees_with_torch():
    rng = np.random.default_rng(0)
    scores = np.minimum(0.8, np.linspace(0.2, 1.4, 60)) + rng.normal(0, 0.01, 60)
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, mode="max", factor=0.5, patience=4, threshold=0.0, threshold_mode="abs"
    )
    schedule = RateSchedule(ScheduleSettings(name="plateau", factor=0.5, patience=4, warmup=0.0), STEPS)
    for epoch in range(1, 61):
        reference.step(scores[epoch - 1])
        assert schedule.factor(0, scores[:epoch]) == pytest.approx(optimiser.param_groups[0]["lr"])
    assert count_plateaus(scores, 4) >= 3


@pytest.mark.parametrize("name", ["cosine", "poly", "plateau", "constant"])
def test_the_warm_up_is_linear_and_ends_at_the_peak(name):
    rates = factors(name, warmup=0.1)
    np.testing.assert_allclose(np.diff(rates[:20]), 1 / 21, rtol=1e-9)
    assert rates[20] == 1.0
    assert rates[:20].max() < 1.0


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_stay_between_zero_and_the_peak(name):
    rates = factors(name)
    assert (rates > 0).all()
    assert rates.max() == pytest.approx(1.0, abs=1e-3)
    assert math.isfinite(RateSchedule(ScheduleSettings(name=name), 1).factor(0))
    assert RateSchedule(ScheduleSettings(name=name), STEPS).factor(STEPS + 5) <= 1


def test_cosine_and_poly_end_where_asked():
    for name in ("cosine", "poly"):
        assert RateSchedule(ScheduleSettings(name=name, final=0.2), STEPS).factor(STEPS) == pytest.approx(0.2)


def test_plateaus_are_counted_anew_after_each():
    assert count_plateaus([], 2) == 0
    assert count_plateaus([0.5, 0.4, 0.4], 2) == 0
    assert count_plateaus([0.5, 0.4, 0.4, 0.5], 2) == 1
    assert count_plateaus([0.5] + [0.4] * 6, 2) == 2
