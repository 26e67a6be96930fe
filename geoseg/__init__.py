"""geoseg: crop and land-cover maps from satellite and aerial scenes of any size.

The verbs of the command line are functions here, with the same names and defaults:

    >>> import geoseg
    >>> result = geoseg.predict("scene.tif", polygons="fields.gpkg")  # doctest: +SKIP
    >>> result.outputs["classes"]  # doctest: +SKIP
    PosixPath('scene_classes.tif')

They are loaded when first used (PEP 562), so that importing geoseg costs nothing.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from geoseg._version import __version__
from geoseg.errors import GeosegError, InputError, RunError

if TYPE_CHECKING:
    from geoseg.models import Model, load_model
    from geoseg.scene import Scene, open_scene
    from geoseg.verbs.env import EnvResult, env
    from geoseg.verbs.evaluate import EvaluateResult, evaluate
    from geoseg.verbs.inspect import Inspection, inspect
    from geoseg.verbs.polygonize import PolygonizeResult, polygonize
    from geoseg.verbs.predict import PredictResult, predict
    from geoseg.verbs.train import TrainResult, train

logging.getLogger("geoseg").addHandler(logging.NullHandler())  # silent unless the program asks for the log

_HOMES = {
    "predict": "geoseg.verbs.predict",
    "PredictResult": "geoseg.verbs.predict",
    "polygonize": "geoseg.verbs.polygonize",
    "PolygonizeResult": "geoseg.verbs.polygonize",
    "env": "geoseg.verbs.env",
    "EnvResult": "geoseg.verbs.env",
    "evaluate": "geoseg.verbs.evaluate",
    "EvaluateResult": "geoseg.verbs.evaluate",
    "inspect": "geoseg.verbs.inspect",
    "Inspection": "geoseg.verbs.inspect",
    "train": "geoseg.verbs.train",
    "TrainResult": "geoseg.verbs.train",
    "load_model": "geoseg.models",
    "Model": "geoseg.models",
    "open_scene": "geoseg.scene",
    "Scene": "geoseg.scene",
}

__all__ = [
    "EnvResult",
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
    "env",
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
