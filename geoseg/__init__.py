"""geoseg: crop and land-cover maps from satellite and aerial scenes of any size.

The verbs of the command line are functions here, with the same names and defaults:

    >>> import geoseg
    >>> result = geoseg.predict("scene.tif", polygons="fields.gpkg")  # doctest: +SKIP
    >>> result.outputs["classes"]  # doctest: +SKIP
    PosixPath('scene_classes.tif')

They are loaded when first used (PEP 562), so that importing geoseg costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from geoseg._version import __version__
from geoseg.errors import GeosegError, InputError, RunError

if TYPE_CHECKING:
    from geoseg.models import Model, load_model
    from geoseg.run.evaluate import EvaluateResult, evaluate
    from geoseg.run.inspect import Inspection, inspect
    from geoseg.run.polygonize import PolygonizeResult, polygonize
    from geoseg.run.predict import PredictResult, predict
    from geoseg.run.train import TrainResult, train
    from geoseg.scene import Scene, open_scene

_HOMES = {
    "predict": "geoseg.run.predict",
    "PredictResult": "geoseg.run.predict",
    "polygonize": "geoseg.run.polygonize",
    "PolygonizeResult": "geoseg.run.polygonize",
    "evaluate": "geoseg.run.evaluate",
    "EvaluateResult": "geoseg.run.evaluate",
    "inspect": "geoseg.run.inspect",
    "Inspection": "geoseg.run.inspect",
    "train": "geoseg.run.train",
    "TrainResult": "geoseg.run.train",
    "load_model": "geoseg.models",
    "Model": "geoseg.models",
    "open_scene": "geoseg.scene",
    "Scene": "geoseg.scene",
}

__all__ = [
    "EvaluateResult",
    "GeosegError",
    "InputError",
    "Inspection",
    "Model",
    "PolygonizeResult",
    "PredictResult",
    "RunError",
    "Scene",
    "TrainResult",
    "__version__",
    "evaluate",
    "inspect",
    "load_model",
    "open_scene",
    "polygonize",
    "predict",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'geoseg' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
