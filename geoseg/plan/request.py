"""What a run of ``geoseg.predict`` was asked for, before anything was checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from geoseg.plan.settings import ComputeOptions
from geoseg.polygons.borders.options import BorderOptions
from geoseg.refine.request import RefineOptions
from geoseg.scene.opening import SceneOptions

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """The arguments of ``geoseg.predict``, which documents them, all but ``progress``.

    Attributes:
        reading: How the scene is read.
        compute: How the network is run.
        refine: How the class map is cleaned up.
        borders: How the borders of polygons are changed.
    """

    scene: PathLike | Sequence[PathLike]
    output: PathLike | None = None
    model: PathLike | None = None
    polygons: PathLike | None = None
    confidence: PathLike | None = None
    probabilities: PathLike | None = None
    report: PathLike | None = None
    stats: Sequence[str] | None = None
    aoi: PathLike | None = None
    date: str | None = None
    force: bool = False
    reading: SceneOptions = field(default_factory=SceneOptions)
    compute: ComputeOptions = field(default_factory=ComputeOptions)
    refine: RefineOptions = field(default_factory=RefineOptions)
    borders: BorderOptions = field(default_factory=BorderOptions)
    max_memory: str | int | None = None
    overwrite: bool = False
    resume: bool = False
    dry_run: bool = False
