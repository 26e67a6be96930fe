"""Yields of all fields and districts: a model a crop, since yields of different crops share no scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import geopandas
import numpy as np
import pandas as pd

from yields.intervals import cv_plus, error_parts, half_width, held_out_half_widths
from yields.regression import LEAST_GROUPS, CrossValidation, Training, cross_validate
from yields.seasons import SEASON

LEAST_KNOWN = 20
COLUMNS = ("yield_forecast", "yield_low", "yield_high")


@dataclass(frozen=True)
class CropForecast:
    """One crop.

    Attributes:
        fields: Columns ``COLUMNS`` and ``held_out``, indexed by the crop's fields.
        districts: One row a district.
        report: Scores, choices and coverage.
    """

    fields: pd.DataFrame
    districts: pd.DataFrame
    report: dict[str, Any]


def features_of(indices: Sequence[str]) -> list[str]:
    """The columns that models read."""
    return [f"{index}_{what}" for index in indices for what in SEASON]


def too_little(fields: geopandas.GeoDataFrame) -> str | None:
    """Why a crop's yields cannot be forecast, or None."""
    known = fields[fields["yield_known"].notna() & fields["usable"] & fields["district"].notna()]
    if len(known) < LEAST_KNOWN:
        return f"known yields of {len(known)} fields with a season, and a forecast needs {LEAST_KNOWN}"
    groups = known["district"].nunique()
    if groups < LEAST_GROUPS:
        return f"known yields in {groups} districts, and cross-validation needs {LEAST_GROUPS}"
    return None


def forecast_crop(fields: geopandas.GeoDataFrame, indices: Sequence[str], level: float) -> CropForecast:
    """Cross-validate and forecast one crop.

    Args:
        fields: Of one class, with the season's columns, ``yield_known``, ``district`` and ``usable`` (has a
            season).
        indices: Names of the indices.
        level: Of the intervals, as 0.9.

    Returns:
        For a field of known yield the forecast of a model that has not seen its district, for the others that
        of the model of all known fields.
    """
    columns = features_of(indices)
    usable = fields[fields["usable"]]
    known = usable[usable["yield_known"].notna() & usable["district"].notna()]
    data = Training(
        known[columns],
        known["yield_known"].to_numpy(float),
        known["confidence"].to_numpy(float),
        known["district"].to_numpy(object),
    )
    found = cross_validate(data)
    errors = found.held_out["auto"] - data.yields
    result = pd.DataFrame(np.nan, fields.index, list(COLUMNS))
    others = usable.index.difference(known.index)
    if len(others):
        by_fold = np.column_stack([model.predict(usable.loc[others, columns]) for model in found.models])
        low, high = cv_plus(by_fold, found.folds, errors, level)
        values = found.final.predict(usable.loc[others, columns])
        result.loc[others] = np.column_stack([values, np.minimum(low, values), np.maximum(high, values)])
    widths = held_out_half_widths(errors, found.folds, level)
    held_out = found.held_out["auto"]
    result.loc[known.index] = np.column_stack([held_out, held_out - widths, held_out + widths])
    result["held_out"] = result.index.isin(known.index)
    result = result.replace([np.inf, -np.inf], np.nan)
    districts = forecast_districts(fields.join(result), errors, data.groups, level)
    return CropForecast(
        result, districts, _report(found, data, errors, widths, level, len(fields), len(usable))
    )


def forecast_districts(
    fields: pd.DataFrame, errors: np.ndarray, groups: np.ndarray, level: float
) -> pd.DataFrame:
    """Mean yield of each district's fields, weighted by area; known yields are taken as they are.

    Args:
        fields: Of one class, with ``district``, ``area``, ``yield_known``, ``yield_forecast``.
        errors: Held-out errors of the known fields.
        groups: Their districts.
        level: Of the intervals.
    """
    parts = error_parts(errors, groups)
    rows = []
    told = fields["yield_known"].fillna(fields["yield_forecast"])
    for name, inside in fields[told.notna()].groupby("district"):
        share = (inside["area"] / inside["area"].sum()).to_numpy()
        unknown = inside["yield_known"].isna().to_numpy()
        value = float((share * told[inside.index]).sum())
        width = parts.half_width(share[unknown], level) if unknown.any() else 0.0
        rows.append(
            {
                "district": name,
                "fields": len(inside),
                "fields_known": int((~unknown).sum()),
                "area_ha": float(inside["area_ha"].sum(min_count=1)),
                "yield_forecast": value,
                "yield_low": value - width,
                "yield_high": value + width,
            }
        )
    return pd.DataFrame(rows)


def _report(
    found: CrossValidation,
    data: Training,
    errors: np.ndarray,
    widths: np.ndarray,
    level: float,
    fields: int,
    usable: int,
) -> dict[str, Any]:
    parts = error_parts(errors, data.groups)
    return {
        "fields": fields,
        "fields_with_a_season": usable,
        "fields_known": len(data.yields),
        "districts_known": len(np.unique(data.groups)),
        "folds": int(found.folds.max()) + 1,
        "scores": found.scores,
        "chosen_in_folds": found.chosen,
        "model": found.name,
        "interval": level,
        "interval_coverage_on_held_out_districts": float((np.abs(errors) <= widths).mean()),
        "interval_half_width": half_width(errors, level),
        "error_shared_by_a_district": parts.district,
        "error_of_a_field": parts.field,
    }
