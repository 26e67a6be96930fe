"""What every loss is, and how those of a recipe are added up.

A loss is a torch Module called with logits float32 (N, classes, rows, columns) and labels int64 (N, rows,
columns) of class indices, ``IGNORE`` where there is no label. It gives one number: finite, 0 for a batch
without a labelled pixel, and with a gradient of exactly 0 at ignored pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from geoseg.classes import IGNORE
from geoseg.training.network.losses.pixelwise import BinaryCrossEntropy, CrossEntropy, Focal
from geoseg.training.network.losses.regions import Lovasz, Tversky
from geoseg.training.recipe.settings import LossSettings, LossTerm


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


class WeightedSum(nn.Module):  # type: ignore[misc]
    """The sum of losses times their weights.

    Args:
        terms: (loss, weight) pairs.
    """

    def __init__(self, terms: Sequence[tuple[nn.Module, float]]) -> None:
        super().__init__()
        self.terms = nn.ModuleList(loss for loss, _ in terms)
        self.weights = [weight for _, weight in terms]

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``."""
        losses = [
            weight * loss(logits, labels) for loss, weight in zip(self.terms, self.weights, strict=True)
        ]
        return torch.stack(losses).sum()


class LearnedSum(nn.Module):  # type: ignore[misc]
    """Losses weighted by what they leave uncertain: ``sum(w exp(-s) L + s / 2)``, s learnt for each.

    s is the logarithm of the variance (Kendall, Gal and Cipolla 2018, the form for classification); a loss
    that stays large gets less weight, and s / 2 keeps all weights from falling to 0.

    Args:
        terms: (loss, weight) pairs; the weights are where learning starts from.
    """

    def __init__(self, terms: Sequence[tuple[nn.Module, float]]) -> None:
        super().__init__()
        self.terms = nn.ModuleList(loss for loss, _ in terms)
        self.weights = [weight for _, weight in terms]
        self.log_variances = nn.Parameter(torch.zeros(len(self.terms)))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``."""
        losses = torch.stack(
            [weight * loss(logits, labels) for loss, weight in zip(self.terms, self.weights, strict=True)]
        )
        total = ((-self.log_variances).exp() * losses + self.log_variances / 2).sum()
        return total * (labels != IGNORE).any()


def build_loss(settings: LossSettings, class_weights: Tensor | None) -> nn.Module:
    """The loss of a recipe.

    Args:
        settings: Its terms.
        class_weights: One a class for pixel-wise losses, or None.
    """
    terms = [(_build(term, class_weights), term.weight) for term in settings.terms]
    return LearnedSum(terms) if settings.learned else WeightedSum(terms)


def _build(term: LossTerm, class_weights: Tensor | None) -> nn.Module:
    makers: Mapping[str, Any] = {
        "cross_entropy": lambda: CrossEntropy(class_weights, term.smoothing),
        "focal": lambda: Focal(class_weights, term.gamma),
        "dice": lambda: Tversky(0.5, 0.5),
        "jaccard": lambda: Tversky(1.0, 1.0),
        "tversky": lambda: Tversky(term.alpha, term.beta),
        "lovasz": Lovasz,
        "bce": lambda: BinaryCrossEntropy(class_weights),
        "bce_dice": lambda: WeightedSum(
            [(BinaryCrossEntropy(class_weights), 1.0), (Tversky(0.5, 0.5, binary=True), 1.0)]
        ),
    }
    loss: nn.Module = makers[term.name]()
    return loss
