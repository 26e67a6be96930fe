"""Check whether the -1000 offset of Sentinel-2 products since processing baseline 04.00 was applied.

Since 2022-01-25 ESA stores reflectance * 10000 + 1000 and gives the offset (``BOA_ADD_OFFSET``,
``RADIO_ADD_OFFSET``) only in the product's XML, so that values of a single file are 0.1 too high
(https://sentinels.copernicus.eu/web/sentinel/-/copernicus-sentinel-2-major-products-upgrade-upcoming).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from geoseg.doctor.examination import Examination
from geoseg.doctor.findings import Finding
from geoseg.doctor.stored_values import SHIFTED_BY, SHIFTED_FLOOR, SHIFTED_FROM
from geoseg.scene.product import processing_baseline

_FLOOR_AT_MOST = 1300


def check_sentinel2_offset(examination: Examination) -> Iterator[Finding]:
    """Look for the offset in metadata and in the darkest pixels.

    Stop where metadata and values agree that it was not applied; warn where only the values indicate it; note
    where the baseline has the offset but the values do not.
    """
    scene, values = examination.scene, examination.values
    is_integer = all(band.stored.dtype.kind in "iu" and band.stored.dtype.itemsize >= 2 for band in values)
    if not values or not is_integer or any(band.band.offset for band in values):
        return
    if scene.tags.get("BOA_OFFSET_APPLIED", "").lower() == "true" or scene.sensor not in (None, "sentinel-2"):
        return
    floors = [float(np.percentile(band.stored.astype(np.float64), 0.1)) for band in values]
    scale, wants_reflectance = values[0].band.scale, examination.card.units == "reflectance"
    fix = f"--offset {-SHIFTED_BY * scale:.6g}"
    if scale == 1.0 and wants_reflectance:
        fix = "--scale 0.0001 --offset -0.1"
    version = processing_baseline(scene.tags, scene.paths)
    if version is not None and version >= SHIFTED_FROM:
        yield _by_metadata(version, min(floors), fix)
        return
    if version is not None or not SHIFTED_FLOOR <= min(floors) <= _FLOOR_AT_MOST:
        return
    is_named = scene.sensor == "sentinel-2"
    if not is_named and (len(floors) < 3 or max(floors) > _FLOOR_AT_MOST or min(floors) < 0.95 * SHIFTED_BY):
        return
    message = (
        f"{'probably' if is_named else 'perhaps'} the -1000 offset of Sentinel-2 products since 2022 "
        f"(baseline 04.00) is still to be applied: the darkest pixels lie at {min(floors):.0f} in all bands, "
        "and no metadata says more"
    )
    yield Finding("warn", "sentinel2-offset", message, f"{fix}, if the product is of baseline 04.00 or later")


def _by_metadata(version: float, floor: float, fix: str) -> Finding:
    if floor < SHIFTED_FLOOR:
        return Finding(
            "note",
            "sentinel2-offset",
            f"processing baseline {version:05.2f} stores values 1000 too high, but the darkest pixels lie at "
            f"{floor:.0f}: the offset was applied already",
        )
    return Finding(
        "stop",
        "sentinel2-offset",
        f"the -1000 offset of Sentinel-2 processing baseline {version:05.2f} is still to be applied: "
        f"the darkest pixels lie at {floor:.0f}, so every band would seem 0.1 too bright",
        fix,
    )
