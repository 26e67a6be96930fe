"""Fit the temperature at which the blended confidence of a map is calibrated.

A temperature divides the logits of a chip before the softmax (Guo et al. 2017). The confidence of a map is
blended from several chips and, with test-time augmentation, several views of each, which lowers it. So the
logits of a sample of pixels are kept from every chip and view that reaches them, and are blended again at
each trial temperature exactly as ``predict`` blends them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geoseg.assess.calibration import bin_sums
from geoseg.inference.sums import decide, to_steps
from geoseg.maps.kinds import CONFIDENCE_ONE, to_bytes

LOWEST, HIGHEST = 0.1, 10.0
_TRIALS = 25
_PRECISION = 0.005
"""Relative precision of the temperature."""


@dataclass(frozen=True)
class ChipLogits:
    """Logits of one chip at the sampled pixels that it reaches.

    Attributes:
        pixels: intp (pixels,): their numbers in the sample, each once.
        weights: int32 (pixels,): the chip's blending weights there.
        logits: float32 (views, classes, pixels).
    """

    pixels: NDArray[np.intp]
    weights: NDArray[np.int32]
    logits: NDArray[np.float32]

    def steps(self, temperature: float) -> NDArray[np.uint16]:
        """Compute probabilities (classes, pixels), the mean of all views, rounded as in ``predict``."""
        import torch

        total = np.zeros((), np.float32)
        for view in self.logits:
            total = total + torch.softmax(torch.from_numpy(view) / temperature, dim=0).numpy()
        return to_steps(total / np.float32(len(self.logits)))


@dataclass(frozen=True)
class LogitSample:
    """Labelled pixels and all that is needed to blend them at any temperature.

    Attributes:
        labels: uint8 (pixels,): class indices.
        classes: Number of classes.
        logits: The logits of every chip that reaches them.
    """

    labels: NDArray[np.uint8]
    classes: int
    logits: tuple[ChipLogits, ...]

    def blend(self, temperature: float) -> NDArray[np.int32]:
        """Blend the chips at a temperature: int32 (classes, pixels) in units of ``sums.SUM_ONE``."""
        sums = np.zeros((self.classes, self.labels.size), np.int32)
        for chip in self.logits:
            sums[:, chip.pixels] += chip.steps(temperature).astype(np.int32) * chip.weights
        return sums


def join(samples: Sequence[LogitSample]) -> LogitSample:
    """Join several samples into one.

    Args:
        samples: At least one sample; all of the same classes.
    """
    starts = np.cumsum([0, *(sample.labels.size for sample in samples)])
    return LogitSample(
        np.concatenate([sample.labels for sample in samples]),
        samples[0].classes,
        tuple(
            replace(chip, pixels=chip.pixels + start)
            for sample, start in zip(samples, starts, strict=False)
            for chip in sample.logits
        ),
    )


def miscalibration(sums: NDArray[np.int32], labels: NDArray[np.uint8]) -> float:
    """Compute the root mean squared gap between confidence and accuracy over 15 bins of confidence.

    Minimising it gave as small an expected calibration error on held-out blocks as minimising that error
    itself, and it is smoother; minimising the negative log-likelihood gave a larger one (docs/train.md).

    Args:
        sums: int32 (classes, pixels), blended, in units of ``sums.SUM_ONE``.
        labels: uint8 (pixels,): class indices.
    """
    decision = decide(sums[:, None], np.ones((1, labels.size), bool))
    confidence = to_bytes(decision.top, CONFIDENCE_ONE, decision.valid)
    pixels, correct, percent = bin_sums(confidence, decision.winner == labels)
    gaps = percent / CONFIDENCE_ONE - correct
    return math.sqrt(float((gaps**2 / np.maximum(pixels, 1)).sum()) / max(labels.size, 1))


def fit_temperature(sample: LogitSample) -> float:
    """Fit the temperature at which blended confidence is calibrated best.

    Equal steps of its logarithm are tried first, then a golden-section search (Kiefer 1953) runs between the
    neighbours of the best; for a single number this needs no gradient through the blending.

    Args:
        sample: Pixels that the network was not trained on.

    Returns:
        The temperature, 0.1 to 10; 1 for a sample without pixels.
    """
    if not sample.labels.size:
        return 1.0

    def cost(logarithm: float) -> float:
        return miscalibration(sample.blend(math.exp(logarithm)), sample.labels)

    trials = np.linspace(math.log(LOWEST), math.log(HIGHEST), _TRIALS)
    best = int(np.argmin([cost(trial) for trial in trials]))
    low, high = trials[max(best - 1, 0)], trials[min(best + 1, _TRIALS - 1)]
    return round(math.exp(_golden_section(cost, float(low), float(high))), 4)


def _golden_section(cost: Callable[[float], float], low: float, high: float) -> float:
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = cost(left), cost(right)
    while high - low > _PRECISION:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = cost(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = cost(right)
    return (low + high) / 2
