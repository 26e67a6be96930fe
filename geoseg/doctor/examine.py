"""Run all checks of the input doctor: whether a scene fits a model, and what fixes it.

To add a check, write a function in a file of this folder that takes an ``Examination`` and yields findings,
and add it to ``CHECKS`` below.

A finding that stops is for scenes whose map would be useless; predict then needs ``--force``. A finding that
warns is for what may make the map worse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from geoseg.doctor.bands import check_bands, check_each_band, check_offsets
from geoseg.doctor.domain import check_months, check_region
from geoseg.doctor.examination import Examination
from geoseg.doctor.findings import Diagnosis, Finding, Severity
from geoseg.doctor.pixel_size import check_pixel_shape, check_pixel_size
from geoseg.doctor.sentinel2 import check_sentinel2_offset
from geoseg.doctor.values import (
    check_atmosphere,
    check_encoding,
    check_undeclared_nodata,
    check_valid_pixels,
    check_values,
)
from geoseg.scene.scene import Scene

if TYPE_CHECKING:
    from geoseg.models.card import ModelCard

CHECKS: tuple[Callable[[Examination], Iterable[Finding]], ...] = (
    check_region,
    check_months,
    check_pixel_size,
    check_pixel_shape,
    check_bands,
    check_valid_pixels,
    check_undeclared_nodata,
    check_encoding,
    check_sentinel2_offset,
    check_atmosphere,
    check_each_band,
    check_offsets,
    check_values,
)
"""All checks, in the order in which findings of one severity are listed."""

_ORDER: tuple[Severity, ...] = ("stop", "warn", "note")


def examine(scene: Scene, card: ModelCard, *, bands: Sequence[str | int] | None = None) -> Diagnosis:
    """Examine a scene for a model; a bounded sample of its pixels is read.

    Args:
        scene: The scene as predict would open it, overrides applied.
        card: The model's card.
        bands: Bands that the user named with ``--bands``, or None.

    Returns:
        The findings, the gravest first, and the bands to use.

    Raises:
        RunError: If the scene's pixels cannot be read.
    """
    return diagnose(Examination.begin(scene, card, bands))


def diagnose(examination: Examination) -> Diagnosis:
    """Run all checks on a scene and a model whose bands were matched; see ``examine``."""
    findings = [finding for check in CHECKS for finding in check(examination)]
    findings.sort(key=lambda finding: _ORDER.index(finding.severity))
    return Diagnosis(tuple(findings), examination.match, examination.read_scene, examination.decided)
