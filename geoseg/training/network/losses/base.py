"""What every loss is, and the pixels it counts.

A loss is a torch Module called with logits float32 (N, classes, rows, columns) and labels int64 (N, rows,
columns) of class indices, ``IGNORE`` where there is no label. It gives one number: finite, 0 for a batch
without a labelled pixel, and with a gradient of exactly 0 at ignored pixels.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from geoseg.classes import IGNORE


class Loss(Protocol):
    """See the module."""

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch, a scalar."""


def labelled(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The logits (pixels, classes) and class indices (pixels,) of labelled pixels.

    Taking them out is what makes ignored pixels harmless: they are in no sum and get no gradient.
    """
    known = labels != IGNORE
    return logits.movedim(1, -1)[known], labels[known]


def mean(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """The (weighted) mean; 0, with gradients of 0, where there is nothing or all weights are 0."""
    if weights is None:
        return values.sum() / max(values.numel(), 1)
    return (values * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
