"""Losses: from logits and class indices to one number; pixels without a label have no effect.

To add a loss, write its class in a file beside these: a ``loss.Loss`` with the method ``of_pixels``. Then add
one line to ``LOSSES``; a new parameter is one line in ``recipe.settings.LossTerm``. Recipes,
``geoseg train --example`` and the tests of all losses read that table.
"""

from __future__ import annotations

from collections.abc import Mapping

# Names instead of classes, so that a recipe is read without importing torch.
LOSSES: Mapping[str, str] = {
    "cross_entropy": "pixelwise.CrossEntropy",
    "focal": "pixelwise.Focal",
    "dice": "regions.Dice",
    "jaccard": "regions.Jaccard",
    "tversky": "regions.Tversky",
    "lovasz": "regions.Lovasz",
    "bce": "pixelwise.BinaryCrossEntropy",
    "bce_dice": "regions.BinaryCrossEntropyDice",
}
"""Module and class of each loss, by its name in a recipe."""
