"""One temperature for all logits, chosen so that the blended confidence can be believed.

A temperature divides the logits of a chip before the softmax (Guo et al. 2017), but what a map shows is
blended from several chips and, with test-time augmentation, several views of each; blending makes confidence
smaller. So the logits of a sample of pixels are kept from every chip and view that reaches them, and are
blended again at each trial temperature exactly as a run blends them.
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

COLDEST, HOTTEST = 0.1, 10.0
_TRIALS = 25
_FINE = 0.005
"""The temperature is found to half a percent."""


@dataclass(frozen=True)
class ChipLogits:
    """What one chip says of the sampled pixels that it reaches.

    Attributes:
        pixels: intp (pixels,): which of the sample; each once.
        weights: int32 (pixels,): the chip's blending weights there.
        logits: float32 (views, classes, pixels).
    """

    pixels: NDArray[np.intp]
    weights: NDArray[np.int32]
    logits: NDArray[np.float32]

    def steps(self, temperature: float) -> NDArray[np.uint16]:
        """Compute probabilities (classes, pixels), the mean of all views, as a run rounds them."""
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
        shares: What every chip says of them.
    """

    labels: NDArray[np.uint8]
    classes: int
    shares: tuple[ChipLogits, ...]

    def blend(self, temperature: float) -> NDArray[np.int32]:
        """Blend the chips at a temperature: int32 (classes, pixels) in units of ``sums.SUM_ONE``."""
        sums = np.zeros((self.classes, self.labels.size), np.int32)
        for share in self.shares:
            sums[:, share.pixels] += share.steps(temperature).astype(np.int32) * share.weights
        return sums


def join(samples: Sequence[LogitSample]) -> LogitSample:
    """Join several samples to one.

    Args:
        samples: At least one, of the same classes.
    """
    starts = np.cumsum([0, *(sample.labels.size for sample in samples)])
    return LogitSample(
        np.concatenate([sample.labels for sample in samples]),
        samples[0].classes,
        tuple(
            replace(share, pixels=share.pixels + start)
            for sample, start in zip(samples, starts, strict=False)
            for share in sample.shares
        ),
    )


def miscalibration(sums: NDArray[np.int32], labels: NDArray[np.uint8]) -> float:
    """Compute the root mean squared gap between confidence and accuracy over 15 bins of confidence.

    On held-out blocks it chose temperatures with as little expected calibration error as that error itself
    did, in the worst case less, and it changes more smoothly; the likelihood of the labels chose worse ones.

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

    Tried at equal steps of its logarithm first, then by golden-section search between the neighbours of the
    best (Kiefer 1953): one number is sought, and no gradient has to go through the blending.

    Args:
        sample: Pixels that the network was not trained on.

    Returns:
        What logits are to be divided by, 0.1 to 10; 1 without pixels.
    """
    if not sample.labels.size:
        return 1.0

    def cost(logarithm: float) -> float:
        return miscalibration(sample.blend(math.exp(logarithm)), sample.labels)

    trials = np.linspace(math.log(COLDEST), math.log(HOTTEST), _TRIALS)
    best = int(np.argmin([cost(trial) for trial in trials]))
    low, high = trials[max(best - 1, 0)], trials[min(best + 1, _TRIALS - 1)]
    return round(math.exp(_golden_section(cost, float(low), float(high))), 4)


def _golden_section(cost: Callable[[float], float], low: float, high: float) -> float:
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = cost(left), cost(right)
    while high - low > _FINE:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = cost(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = cost(right)
    return (low + high) / 2
