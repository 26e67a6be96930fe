"""The base class of losses, and sums of losses.

A loss is called with logits float32 (N, classes, rows, columns) and labels int64 (N, rows, columns) of class
indices, ``IGNORE`` where there is no label. It returns one number: finite, 0 for a batch without a labelled
pixel, and with a gradient of exactly 0 at ignored pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import torch
from torch import Tensor, nn

from geoseg.classes import IGNORE
from geoseg.training.network.losses import LOSSES
from geoseg.training.recipe.settings import LossSettings, LossTerm


class Loss(nn.Module):  # type: ignore[misc]
    """Base class of all losses; a subclass computes the loss of labelled pixels in ``of_pixels``.

    Args:
        term: The term of the recipe, with the parameters.
        class_weights: One weight a class, or None; pixel-wise losses use them.
    """

    def __init__(self, term: LossTerm, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.term = term
        self.register_buffer("weights", class_weights)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of a batch, a scalar."""
        # Only labelled pixels are selected, so the others enter no sum and get no gradient.
        known = labels != IGNORE
        return self.of_pixels(logits.movedim(1, -1)[known], labels[known])

    def of_pixels(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of logits (pixels, classes) and class indices (pixels,); there may be no pixel."""
        raise NotImplementedError

    def mean_of(self, values: Tensor, labels: Tensor) -> Tensor:
        """Average values (pixels,), weighted by the class of the label; 0 if there are none."""
        if self.weights is None:
            return values.sum() / max(values.numel(), 1)
        weights = self.weights[labels]
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
        """Compute the loss of a batch, a scalar."""
        return self.losses(logits, labels).sum()

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute each loss times its weight, (terms,)."""
        return torch.stack(
            [weight * loss(logits, labels) for loss, weight in zip(self.terms, self.weights, strict=True)]
        )


class LearnedSum(WeightedSum):
    """Losses weighted by learnt uncertainty: ``sum(w exp(-s) L + s / 2)`` with one s for each loss.

    s is the logarithm of the variance (Kendall, Gal and Cipolla 2018, the form for classification). A loss
    that stays large gets less weight, and the term s / 2 keeps the weights from falling to 0.

    Args:
        terms: (loss, weight) pairs; the weights are the initial ones.
    """

    def __init__(self, terms: Sequence[tuple[nn.Module, float]]) -> None:
        super().__init__(terms)
        self.log_variances = nn.Parameter(torch.zeros(len(self.terms)))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of a batch, a scalar."""
        losses = self.losses(logits, labels)
        total = ((-self.log_variances).exp() * losses + self.log_variances / 2).sum()
        return total * (labels != IGNORE).any()


def build_loss(settings: LossSettings, class_weights: Tensor | None) -> WeightedSum:
    """Build the loss of a recipe.

    Args:
        settings: The recipe's ``[loss]`` table.
        class_weights: One weight a class for pixel-wise losses, or None.
    """
    terms = [(make_loss(term, class_weights), term.weight) for term in settings.terms]
    return LearnedSum(terms) if settings.learned else WeightedSum(terms)


def make_loss(term: LossTerm, class_weights: Tensor | None = None) -> Loss:
    """Make one loss of a recipe; see ``LOSSES``."""
    module, name = LOSSES[term.name].split(".")
    loss: Loss = getattr(import_module(f"{__package__}.{module}"), name)(term, class_weights)
    return loss
