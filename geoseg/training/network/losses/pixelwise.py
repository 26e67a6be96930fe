"""Losses that judge one pixel at a time: cross-entropy, focal, binary cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, one_hot

from geoseg.training.network.losses.loss import labelled, mean


class CrossEntropy(nn.Module):  # type: ignore[misc]
    """Cross-entropy, weighted by the class of the label, optionally with smoothed labels.

    With smoothing e the target is (1 - e) for the label's class plus e / classes for every class (Szegedy et
    al. 2016). A pixel weighs as much as its label's class, whatever the smoothing.

    Args:
        weights: One a class, or None.
        smoothing: Share of a label spread over all classes, 0 to 1.
    """

    def __init__(self, weights: Tensor | None = None, smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.smoothing = smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``."""
        logits, labels = labelled(logits, labels)
        logarithms = log_softmax(logits, dim=1)
        hit = -logarithms.gather(1, labels[:, None])[:, 0]
        losses = (1 - self.smoothing) * hit - self.smoothing * logarithms.mean(dim=1)
        return mean(losses, None if self.weights is None else self.weights[labels])


class Focal(nn.Module):  # type: ignore[misc]
    """Focal loss, ``-(1 - p)^gamma log p`` of the label's class (Lin et al. 2017), in its softmax form.

    Args:
        weights: One a class, or None.
        gamma: How little pixels count that are right already; 0 is cross-entropy.
    """

    def __init__(self, weights: Tensor | None = None, gamma: float = 2.0) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.gamma = gamma

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``."""
        logits, labels = labelled(logits, labels)
        logarithm = log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
        # 1 - p by expm1, and away from 0, where the power of a gamma below 1 has no gradient.
        miss = (-torch.expm1(logarithm)).clamp(min=1e-12)
        losses = -(miss**self.gamma) * logarithm
        return mean(losses, None if self.weights is None else self.weights[labels])


class BinaryCrossEntropy(nn.Module):  # type: ignore[misc]
    """Each class against the rest: mean binary cross-entropy over labelled pixels and classes.

    Args:
        weights: One a class, or None.
    """

    def __init__(self, weights: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("weights", weights)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``."""
        logits, labels = labelled(logits, labels)
        truth = one_hot(labels, logits.shape[1]).to(logits.dtype)
        losses = binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=1)
        return mean(losses, None if self.weights is None else self.weights[labels])
