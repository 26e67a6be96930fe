"""Losses of the overlap of classes with their labels: dice, jaccard, tversky, lovasz."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from geoseg.training.network.losses.loss import Loss
from geoseg.training.network.losses.pixelwise import BinaryCrossEntropy


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
