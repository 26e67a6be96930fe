"""The whole way: maps and scenes of a season to fields with features, forecasts and districts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely

from geoseg.errors import InputError
from yields.forecast import COLUMNS, forecast_crop, too_little
from yields.known import blocks_of, districts_of, known_yields
from yields.matching import follow
from yields.seasons import LEAST_DATES, open_scenes, season_table
from yields.tables import DateMap, legend, read_maps

CROPLAND = "cropland"
"""The class of worldwide land-cover models that holds all crops."""


@dataclass(frozen=True)
class Job:
    """What to do; ``yield_forecast.py --help`` says what each means."""

    polygons: list[tuple[date | None, Path]]
    scenes: list[tuple[date | None, str]]
    yields: Path | None = None
    yield_column: str = "yield"
    id_column: str = "id"
    districts: Path | None = None
    district_column: str = "name"
    block_km: float = 10.0
    reference: date | None = None
    classes: tuple[str, ...] = ()
    min_area: float = 0.5
    least_share: float = 0.5
    confidence: Path | None = None
    level: float = 0.9


@dataclass(frozen=True)
class Outcome:
    """What came out.

    Attributes:
        fields: One row a field.
        districts: One row a district and crop; None without yields.
        report: Settings, counts and scores.
        days: Dates of the scenes.
        indices: Names of the indices.
    """

    fields: geopandas.GeoDataFrame
    districts: geopandas.GeoDataFrame | None
    report: dict[str, Any]
    days: list[date]
    indices: list[str] = field(default_factory=list)


def run(job: Job, say: Callable[[str], None] = lambda _text: None) -> Outcome:
    """Do it.

    Args:
        job: What to do.
        say: Is told what happens, one line at a time.

    Raises:
        InputError: If an input is wrong.
    """
    if not 0 < job.level < 1:
        raise InputError(f"the level of intervals is between 0 and 1, as 0.9, and not {job.level:g}")
    maps = read_maps(job.polygons)
    raise_without_crops(maps, job)
    reference = reference_of(maps, job.reference)
    fields = chosen(follow(maps, reference, least_share=job.least_share), job)
    say(f"{len(fields)} fields of {reference.date}, followed through {len(maps)} maps")
    scenes = open_scenes(job.scenes)
    table, indices = season_table(fields, scenes, job.confidence)
    fields = fields.join(table)
    fields["usable"] = fields[f"{indices[0]}_dates"] >= LEAST_DATES
    for name in indices[1:]:
        fields["usable"] &= fields[f"{name}_dates"] >= LEAST_DATES
    say(
        f"{', '.join(indices)} on {len(scenes)} dates; "
        f"{int((~fields['usable']).sum())} fields without a season"
    )
    report: dict[str, Any] = {
        "report_version": 1,
        "versions": {name: version(name) for name in ("geoseg", "exactextract", "scikit-learn")},
        "settings": settings_of(job),
        "maps": {str(one.date): len(one.polygons) for one in maps},
        "reference": str(reference.date),
        "scenes": {str(day): scene.paths[0] for day, scene in scenes.items()},
        "indices": indices,
        "fields": len(fields),
        "fields_without_a_season": int((~fields["usable"]).sum()),
        "mean_agreement": float(fields["agreement"].mean()),
    }
    districts = None
    if job.yields is not None:
        fields, districts = _forecast(fields, job, indices, report, say)
    return Outcome(
        fields.drop(columns=["usable", "area"], errors="ignore"), districts, report, list(scenes), indices
    )


def raise_without_crops(maps: list[DateMap], job: Job) -> None:
    """Refuse maps that know cropland but no crops, unless all cropland is to be one crop.

    Raises:
        InputError: If they are such maps, and ``classes`` does not name their cropland.
    """
    if CROPLAND in set(legend(maps).values()) - set(job.classes):
        raise InputError(
            f"the maps tell {CROPLAND} from other cover, but not one crop from another, as those of "
            "world-landcover: map the scenes with a crop model (geoseg predict --model dakota-crops, or your "
            f"own), or give --classes {CROPLAND} to forecast all of it as one crop"
        )


def settings_of(job: Job) -> dict[str, Any]:
    """All settings but the files of maps and scenes, which the report lists by date."""
    return {name: value for name, value in asdict(job).items() if name not in ("polygons", "scenes")}


def reference_of(maps: list[DateMap], day: date | None) -> DateMap:
    """The map whose polygons are the fields: of the day asked for, else the last.

    Raises:
        InputError: If there is no map of that day.
    """
    if day is None:
        return maps[-1]
    for one in maps:
        if one.date == day:
            return one
    raise InputError(
        f"there is no map of {day}; there are maps of {', '.join(str(one.date) for one in maps)}"
    )


def chosen(fields: geopandas.GeoDataFrame, job: Job) -> geopandas.GeoDataFrame:
    """The fields of the classes asked for that are large enough.

    Raises:
        InputError: If a class is unknown or nothing is left.
    """
    unknown = set(job.classes) - set(fields["class_name"])
    if unknown:
        known = ", ".join(sorted(set(fields["class_name"])))
        raise InputError(f"no field is {', '.join(sorted(unknown))}; the classes are {known}")
    keep = fields["area_ha"].isna() | (fields["area_ha"] >= job.min_area)
    if job.classes:
        keep &= fields["class_name"].isin(job.classes)
    if not keep.any():
        raise InputError(f"no field has {job.min_area:g} ha or more; a smaller --min-area keeps more")
    return fields[keep].reset_index(drop=True)


def _forecast(
    fields: geopandas.GeoDataFrame,
    job: Job,
    indices: list[str],
    report: dict[str, Any],
    say: Callable[[str], None],
) -> tuple[geopandas.GeoDataFrame, geopandas.GeoDataFrame]:
    assert job.yields is not None
    fields["yield_known"], lost = known_yields(
        fields, job.yields, job.yield_column, id_column=job.id_column, least_share=job.least_share
    )
    if job.districts is None:
        fields["district"], shapes = blocks_of(fields, job.block_km)
    else:
        fields["district"], shapes = districts_of(fields, job.districts, job.district_column)
    say(f"{int(fields['yield_known'].notna().sum())} known yields; {lost} rows of {job.yields} fit no field")
    report |= {"yields_known": int(fields["yield_known"].notna().sum()), "yields_without_a_field": lost}
    fields["area"] = fields["area_ha"].fillna(pd.Series(shapely.area(fields.geometry.to_numpy())))
    report["crops"] = {}
    parts, districts = [], []
    for name, crop in fields.groupby("class_name"):
        if crop["yield_known"].isna().all():
            continue
        reason = too_little(crop)
        if reason:
            say(f"{name}: no forecast: {reason}")
            report["crops"][name] = {"no_forecast": reason}
            continue
        found = forecast_crop(crop, indices, job.level)
        parts.append(found.fields)
        districts.append(found.districts.assign(class_name=name))
        report["crops"][name] = found.report
        say(f"{name}: {summary(found.report)}")
    empty = pd.DataFrame(columns=[*COLUMNS, "held_out"])
    fields = fields.join(pd.concat(parts) if parts else empty)
    fields["held_out"] = fields["held_out"].eq(True)
    return fields, _shaped(districts, shapes, fields.crs)


def _shaped(districts: list[pd.DataFrame], shapes: geopandas.GeoSeries, crs: Any) -> geopandas.GeoDataFrame:
    """Districts with production and geometry."""
    table = pd.concat(districts, ignore_index=True) if districts else pd.DataFrame({"district": []})
    for column in ("forecast", "low", "high"):
        if len(table):
            table[f"production_{column}"] = table[f"yield_{column}"] * table["area_ha"]
    return geopandas.GeoDataFrame(table, geometry=np.asarray(shapes.reindex(table["district"])), crs=crs)


def summary(crop: dict[str, Any]) -> str:
    """The scores of a crop in a line."""
    scores = crop["scores"]
    rows = ", ".join(f"{name} {scores[name]['rmse']:.3g}" for name in ("mean", "linear"))
    auto = scores["auto"]
    return (
        f"RMSE {auto['rmse']:.3g}, MAE {auto['mae']:.3g}, R2 {auto['r2']:.2f}, bias {auto['bias']:+.2g} on "
        f"held-out districts ({crop['model']}; baselines: {rows}); intervals of {crop['interval']:.0%} held "
        f"{crop['interval_coverage_on_held_out_districts']:.0%}"
    )
