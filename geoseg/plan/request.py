"""What a run of ``geoseg.predict`` was asked for, before anything was checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from geoseg.plan.settings import ComputeOptions
from geoseg.refine.request import RefineOptions

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class PredictRequest(ComputeOptions):
    """The arguments of ``geoseg.predict``, which documents them, all but ``progress``."""

    scene: PathLike | Sequence[PathLike]
    output: PathLike | None = None
    model: PathLike | None = None
    polygons: PathLike | None = None
    confidence: PathLike | None = None
    probabilities: PathLike | None = None
    bands: Sequence[str | int] | None = None
    aoi: PathLike | None = None
    date: str | None = None
    nodata: float | None = None
    scale: float | None = None
    offset: float | None = None
    warp: bool = False
    force: bool = False
    smooth: int | None = None
    opening: str | None = None
    closing: str | None = None
    fill_holes: str | None = None
    sieve: str | None = None
    simplify: str | None = None
    smooth_borders: int | None = None
    stats: Sequence[str] | None = None
    max_memory: str | int | None = None
    overwrite: bool = False
    resume: bool = False
    dry_run: bool = False
    report: PathLike | None = None

    @property
    def refine(self) -> RefineOptions:
        """The refine steps that were asked for."""
        return RefineOptions(
            smooth=self.smooth,
            opening=self.opening,
            closing=self.closing,
            fill_holes=self.fill_holes,
            sieve=self.sieve,
        )
