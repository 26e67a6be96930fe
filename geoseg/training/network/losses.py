"""Losses: from logits and class indices to one number; pixels without a label have no effect.

To add a loss, write a ``Loss`` with the method ``of_pixels`` here, and add one line to ``LOSSES`` in
``recipe.settings``; a new parameter is one line in ``LossTerm`` there. Recipes, their example and the tests
of all losses read that table.

A loss is called with logits float32 (N, classes, rows, columns) and labels int64 (N, rows, columns) of class
indices, ``IGNORE`` where there is no label. It returns one number: finite, 0 for a batch without a labelled
pixel, and with a gradient of exactly 0 at ignored pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, one_hot

from geoseg.classes import IGNORE
from geoseg.training.recipe.settings import LOSSES, LossSettings, LossTerm


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


class CrossEntropy(Loss):
    """Cross-entropy, weighted by the class of the label, optionally with smoothed labels.

    With ``smoothing`` e the target is (1 - e) for the label's class plus e / classes for every class (Szegedy
    et al. 2016). A pixel has the weight of its label's class, whatever the smoothing.
    """

    def of_pixels(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``."""
        logarithms = log_softmax(logits, dim=1)
        hit = -logarithms.gather(1, labels[:, None])[:, 0]
        smoothing = self.term.smoothing
        return self.mean_of((1 - smoothing) * hit - smoothing * logarithms.mean(dim=1), labels)


class Focal(Loss):
    """Focal loss, ``-(1 - p)^gamma log p`` of the label's class (Lin et al. 2017), in its softmax form.

    A larger ``gamma`` reduces the weight of pixels that are well classified; 0 is cross-entropy.
    """

    def of_pixels(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``."""
        logarithm = log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
        # 1 - p by expm1, clamped away from 0, where the power of a gamma below 1 has no finite gradient.
        miss = (-torch.expm1(logarithm)).clamp(min=1e-12)
        return self.mean_of(-(miss**self.term.gamma) * logarithm, labels)


class BinaryCrossEntropy(Loss):
    """Mean binary cross-entropy over labelled pixels and classes, each class against all others."""

    def of_pixels(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``."""
        truth = one_hot(labels, logits.shape[1]).to(logits.dtype)
        losses = binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=1)
        return self.mean_of(losses, labels)


class Tversky(Loss):
    """One minus the Tversky index, ``tp / (tp + alpha fp + beta fn)`` (Salehi et al. 2017)."""

    def of_pixels(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``."""
        return tversky(logits.softmax(dim=1), labels, self.term.alpha, self.term.beta)


class Dice(Loss):
    """One minus the Dice coefficient, the Tversky index of alpha = beta = 0.5."""

    def of_pixels(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``."""
        return tversky(logits.softmax(dim=1), labels, 0.5, 0.5)


class Jaccard(Loss):
    """One minus the Jaccard index, the Tversky index of alpha = beta = 1."""

    def of_pixels(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``."""
        return tversky(logits.softmax(dim=1), labels, 1.0, 1.0)


class BinaryCrossEntropyDice(BinaryCrossEntropy):
    """Binary cross-entropy plus dice, with sigmoid probabilities: each class against all others."""

    def of_pixels(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``."""
        return super().of_pixels(logits, labels) + tversky(logits.sigmoid(), labels, 0.5, 0.5)


class Lovasz(Loss):
    """The Lovasz-softmax loss (Berman et al. 2018) of smp, over the classes that occur in the batch."""

    def of_pixels(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``."""
        from segmentation_models_pytorch.losses import LovaszLoss

        if labels.numel() == 0:
            return logits.sum()
        # smp wants (N, classes, rows, columns); the labelled pixels become one column.
        loss = LovaszLoss("multiclass", from_logits=True)(logits.T[None, :, :, None], labels[None, :, None])
        return torch.as_tensor(loss)


def tversky(probabilities: Tensor, labels: Tensor, alpha: float, beta: float) -> Tensor:
    """Compute one minus the Tversky index over the whole batch, averaged over the classes that occur in it.

    Args:
        probabilities: (pixels, classes).
        labels: Class indices, (pixels,).
        alpha: Weight of false positives.
        beta: Weight of false negatives.
    """
    truth = one_hot(labels, probabilities.shape[1]).to(probabilities.dtype)
    hit = (probabilities * truth).sum(dim=0)
    false_positive = probabilities.sum(dim=0) - hit
    false_negative = truth.sum(dim=0) - hit
    index = hit / (hit + alpha * false_positive + beta * false_negative).clamp(min=1e-7)
    present = truth.sum(dim=0) > 0
    return ((1 - index) * present).sum() / present.sum().clamp(min=1)


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
    loss: Loss = globals()[LOSSES[term.name]](term, class_weights)
    return loss
