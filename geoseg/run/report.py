"""The run report: what was done to what, with which settings, how long it took, and what came out."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from geoseg._version import __version__
from geoseg.models import Model
from geoseg.scene import Scene

REPORT_VERSION = 1
_PACKAGES = (
    "torch",
    "openvino",
    "onnxruntime",
    "segmentation-models-pytorch",
    "rasterio",
    "numpy",
    "geopandas",
    "shapely",
)


def versions() -> dict[str, str]:
    """Versions of geoseg, Python and the packages that shape the answer."""
    import rasterio

    found = {"geoseg": __version__, "python": platform.python_version(), "gdal": rasterio.__gdal_version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def describe_scene(scene: Scene) -> dict[str, Any]:
    """What the report says of a scene."""
    crs = scene.georeference.crs
    return {
        "name": scene.name,
        "paths": list(scene.paths),
        "crs": None if crs is None else crs.to_string(),
        "gsd": scene.gsd,
        "date": scene.date,
        "bands": [str(band) for band in scene.bands],
    }


def describe_model(model: Model, tta: str) -> dict[str, Any]:
    """What the report says of a model that is run with a test-time augmentation."""
    card = model.card
    return {
        "name": card.name,
        "version": card.version,
        "hash": model.hash,
        "architecture": card.architecture,
        "encoder": card.encoder,
        "calibrated": tta in card.temperatures,
        "license": card.license,
    }


def peak_memory() -> int | None:
    """Largest resident memory of this process so far, in bytes; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON so that the file is either the old one or the whole new one."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, path)
