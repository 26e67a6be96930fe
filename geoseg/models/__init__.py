"""Model packages: build a network, save it, load it, say what it is for.

Importing this package is cheap: torch and segmentation-models-pytorch are imported when a network is built.
"""

from __future__ import annotations

from geoseg.models.card import LandClass, ModelBand, ModelCard

__all__ = ["LandClass", "ModelBand", "ModelCard"]
