"""Model packages: build a network, save it, load it, describe it.

Importing this package is cheap: names are looked up when they are first used (PEP 562); torch and
segmentation-models-pytorch are imported when a network is built.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoseg.classes import LandClass, check_class_ids, remap_class_ids
    from geoseg.models.card import ModelBand, ModelCard, describe
    from geoseg.models.catalog import architectures, encoders_for
    from geoseg.models.model import Model
    from geoseg.models.networks import build_network, check_chip_size, size_divisor
    from geoseg.models.package import load_card, load_model, open_model, save_model
    from geoseg.models.sources import DEFAULT_MODEL, bundled_models

_HOMES = {
    "LandClass": "geoseg.classes",
    "ModelBand": "geoseg.models.card",
    "ModelCard": "geoseg.models.card",
    "architectures": "geoseg.models.catalog",
    "encoders_for": "geoseg.models.catalog",
    "check_class_ids": "geoseg.classes",
    "remap_class_ids": "geoseg.classes",
    "describe": "geoseg.models.card",
    "build_network": "geoseg.models.networks",
    "check_chip_size": "geoseg.models.networks",
    "size_divisor": "geoseg.models.networks",
    "Model": "geoseg.models.model",
    "load_card": "geoseg.models.package",
    "load_model": "geoseg.models.package",
    "open_model": "geoseg.models.package",
    "save_model": "geoseg.models.package",
    "DEFAULT_MODEL": "geoseg.models.sources",
    "bundled_models": "geoseg.models.sources",
}

__all__ = [
    "DEFAULT_MODEL",
    "LandClass",
    "Model",
    "ModelBand",
    "ModelCard",
    "architectures",
    "build_network",
    "bundled_models",
    "check_chip_size",
    "check_class_ids",
    "describe",
    "encoders_for",
    "load_card",
    "load_model",
    "open_model",
    "remap_class_ids",
    "save_model",
    "size_divisor",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'geoseg.models' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
