"""What is wrong with label polygons, in words."""

from __future__ import annotations

from collections.abc import Sequence

from geoseg.training.label_check.findings import LabelFinding, Level
from geoseg.training.label_check.outlines import Outlines

_LISTED = 5


def of_outlines(path: str, found: Outlines) -> list[LabelFinding]:
    """Findings on one layer of label polygons, each with what to do."""
    findings = [
        one
        for one in (
            _contradicting(path, found),
            _invalid(path, found),
            _outside(path, found),
            _tiny(path, found),
        )
        if one is not None
    ]
    if found.doubled:
        findings.append(_doubled(path, found))
    if found.overlapping:
        message = f"{path}: {found.overlapping:,} pairs of polygons of one class overlap, which does no harm"
        findings.append(LabelFinding("note", "polygons-overlap", message))
    if found.no_area:
        message = f"{path}: {found.no_area:,} rows are no polygon and are left out"
        findings.append(LabelFinding("note", "polygons-no-area", message))
    if not findings:
        message = f"{path}: its {found.count:,} polygons are valid, inside the scene, and do not overlap"
        findings.append(LabelFinding("ok", "polygons", message))
    return findings


def _contradicting(path: str, found: Outlines) -> LabelFinding | None:
    if not found.contradicting or found.first is None:
        return None
    area = "" if found.contradicted_ha is None else f", {found.contradicted_ha:,.2f} ha"
    message = (
        f"{path}: {found.contradicting:,} pairs of polygons of different classes overlap on "
        f"{found.contradicted:,.0f} pixels{area}; that ground gets no label (first: rows {found.first[0]} "
        f"and {found.first[1]})"
    )
    return LabelFinding(
        "warn", "polygons-contradict", message, "cut one of each pair back (QGIS: Check geometries)"
    )


def _invalid(path: str, found: Outlines) -> LabelFinding | None:
    if not found.invalid:
        return None
    number, why = found.invalid[0]
    message = (
        f"{path}: {len(found.invalid):,} polygons are invalid and will be mended (first: row {number}, {why})"
    )
    return LabelFinding(
        "warn", "polygons-invalid", message, "mend them yourself to be sure (QGIS: Fix geometries)"
    )


def _outside(path: str, found: Outlines) -> LabelFinding | None:
    if not found.outside:
        return None
    many = f"{len(found.outside):,} of {found.count:,} polygons"
    message = f"{path}: {many} lie outside the scene (rows {_list(found.outside)})"
    if len(found.outside) * 2 > found.count:
        return LabelFinding("warn", "polygons-outside", message, "check the CRS of the polygons")
    return LabelFinding("note", "polygons-outside", message)


def _tiny(path: str, found: Outlines) -> LabelFinding | None:
    if not found.tiny:
        return None
    message = f"{path}: {len(found.tiny):,} polygons are smaller than a pixel (rows {_list(found.tiny)})"
    mend = "most of them label nothing: a pixel takes the polygon that holds its centre"
    return LabelFinding("note", "polygons-tiny", message, mend)


def _doubled(path: str, found: Outlines) -> LabelFinding:
    level: Level = "warn" if found.doubled_otherwise else "note"
    otherwise = f", {found.doubled_otherwise:,} of them with another class" if found.doubled_otherwise else ""
    message = f"{path}: {found.doubled:,} polygons repeat another one point for point{otherwise}"
    mend = "delete one of each (QGIS: Delete duplicate geometries)"
    return LabelFinding(level, "polygons-doubled", message, mend)


def _list(numbers: Sequence[int]) -> str:
    more = len(numbers) - _LISTED
    return ", ".join(map(str, numbers[:_LISTED])) + (f" and {more} more" if more > 0 else "")
