"""Losses that judge whole classes by their overlap: dice, jaccard, tversky, lovasz."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from geoseg.training.network.losses.loss import labelled


class Tversky(nn.Module):  # type: ignore[misc]
    """One minus the Tversky index, ``tp / (tp + alpha fp + beta fn)`` (Salehi et al. 2017).

    Taken over the whole batch, and averaged over the classes that its labels hold. alpha = beta = 0.5 is the
    dice loss, alpha = beta = 1 the jaccard loss.

    Args:
        alpha: Weight of false positives.
        beta: Weight of false negatives.
        binary: Probabilities by sigmoid, each class against the rest, instead of softmax.
    """

    def __init__(self, alpha: float, beta: float, *, binary: bool = False) -> None:
        super().__init__()
        self.alpha, self.beta, self.binary = alpha, beta, binary

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``."""
        logits, labels = labelled(logits, labels)
        probabilities = logits.sigmoid() if self.binary else logits.softmax(dim=1)
        truth = one_hot(labels, logits.shape[1]).to(logits.dtype)
        hit = (probabilities * truth).sum(dim=0)
        false_positive = probabilities.sum(dim=0) - hit
        false_negative = truth.sum(dim=0) - hit
        index = hit / (hit + self.alpha * false_positive + self.beta * false_negative).clamp(min=1e-7)
        present = truth.sum(dim=0) > 0
        return ((1 - index) * present).sum() / present.sum().clamp(min=1)


class Lovasz(nn.Module):  # type: ignore[misc]
    """The Lovasz-softmax loss (Berman et al. 2018), smp's, over the classes that the batch holds."""

    def __init__(self) -> None:
        super().__init__()
        from segmentation_models_pytorch.losses import LovaszLoss

        self.inner = LovaszLoss("multiclass", from_logits=True)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``."""
        logits, labels = labelled(logits, labels)
        if labels.numel() == 0:
            return logits.sum()
        # smp wants (N, classes, rows, columns); the labelled pixels become one column.
        return torch.as_tensor(self.inner(logits.T[None, :, :, None], labels[None, :, None]))
