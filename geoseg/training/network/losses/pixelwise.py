"""Losses of single pixels, averaged: cross-entropy, focal, binary cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, one_hot

from geoseg.training.network.losses.loss import Loss


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
