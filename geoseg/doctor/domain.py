"""Check that the scene lies in the region that the model is for, and is of its months.

A scene lies in a region if its centre does, and more than half of its pixels. A scene without a date may be
of any month. Codes: ``region``, ``region-unknown`` and ``months``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from geoseg.doctor.examination import Examination
from geoseg.doctor.findings import Finding, Severity
from geoseg.models.region import months_in_words, place_in_words

REGION, REGION_UNKNOWN, MONTHS = "region", "region-unknown", "months"
OUTSIDE = frozenset({REGION, REGION_UNKNOWN, MONTHS})
"""Codes of the findings on a scene that a model is not made for, or perhaps not."""
_LEAST_SHARE = 0.5


def check_region(examination: Examination) -> Iterator[Finding]:
    """Warn if the scene lies outside of the model's region, or if nobody named the model and it may do so."""
    card, places = examination.card, examination.scene.places
    if card.region is None:
        return
    where = card.region_in_words
    centre = None if places is None else places[len(places) // 2]
    if places is None or centre is None or not np.isfinite(centre).all():
        message = f"the model is for {where}, and where the scene lies is unknown"
        brief = f"is for {where}, and where the scene lies is unknown"
        severity: Severity = "note" if examination.is_named else "warn"
        yield Finding(severity, REGION_UNKNOWN, message, "set its CRS with gdal_edit -a_srs", brief)
        return
    inside = card.region.contains(places)
    if inside[len(places) // 2] and inside.mean() > _LEAST_SHARE:
        return
    at = f"the scene's centre is at {place_in_words(*centre)}"
    share = f", with {inside.mean():.0%} of it inside" if inside.any() else ""
    yield Finding(
        "warn",
        REGION,
        f"the model is for {where}, and {at}{share}",
        "a model for this place, or a worldwide one, should map it better; geoseg models list shows them",
        f"is for {where}, and {at}{share}",
    )


def check_months(examination: Examination) -> Iterator[Finding]:
    """Warn if the scene is of a month that the model is not for."""
    card, date = examination.card, examination.scene.date
    if not card.months or date is None or int(date[5:7]) in card.months:
        return
    reason = f"is for {months_in_words(card.months)}, and the scene is of {date}"
    fix = "take a scene of that season, or another model; --date says the date if it is another"
    yield Finding("warn", MONTHS, f"the model {reason}", fix, reason)
