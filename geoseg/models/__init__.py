"""Model packages: build a network, save it, load it, say what it is for.

Importing this package is cheap: names are looked up when they are first used (PEP 562), torch and
segmentation-models-pytorch are imported when a network is built.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoseg.models.card import LandClass, ModelBand, ModelCard
    from geoseg.models.catalog import architectures, encoders_for
    from geoseg.models.classids import check_class_ids, remap_class_ids
    from geoseg.models.description import describe
    from geoseg.models.model import Model
    from geoseg.models.networks import build_network, check_chip_size, size_divisor
    from geoseg.models.package import load_card, load_model, open_model, save_model
    from geoseg.models.sources import DEFAULT_MODEL, bundled_models

_HOMES = {
    "LandClass": "card",
    "ModelBand": "card",
    "ModelCard": "card",
    "architectures": "catalog",
    "encoders_for": "catalog",
    "check_class_ids": "classids",
    "remap_class_ids": "classids",
    "describe": "description",
    "build_network": "networks",
    "check_chip_size": "networks",
    "size_divisor": "networks",
    "Model": "model",
    "load_card": "package",
    "load_model": "package",
    "open_model": "package",
    "save_model": "package",
    "DEFAULT_MODEL": "sources",
    "bundled_models": "sources",
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
    return getattr(import_module(f"geoseg.models.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
