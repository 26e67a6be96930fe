"""The scene: one or many raster files, read window by window as physical values and a valid mask."""

from __future__ import annotations

from geoseg.raster.georeference import Georeference
from geoseg.scene.band import Band
from geoseg.scene.match import BandMatch, match_bands
from geoseg.scene.opening import open_scene
from geoseg.scene.scene import Scene

__all__ = ["Band", "BandMatch", "Georeference", "Scene", "match_bands", "open_scene"]
