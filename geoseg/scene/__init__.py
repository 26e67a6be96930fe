"""The scene: one or many raster files, read window by window as physical values and a valid mask.

Names are imported on first use (PEP 562), so that code that only reads a scene, as workers do, does not
import what opens one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoseg.raster.georeference import Georeference
    from geoseg.scene.band import Band
    from geoseg.scene.match import BandMatch, match_bands
    from geoseg.scene.opening import open_scene
    from geoseg.scene.scene import Scene

_HOMES = {
    "Band": "geoseg.scene.band",
    "BandMatch": "geoseg.scene.match",
    "Georeference": "geoseg.raster.georeference",
    "Scene": "geoseg.scene.scene",
    "match_bands": "geoseg.scene.match",
    "open_scene": "geoseg.scene.opening",
}

__all__ = ["Band", "BandMatch", "Georeference", "Scene", "match_bands", "open_scene"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'geoseg.scene' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
