"""One picture of a forecast: the season, how good held-out forecasts are, fields and districts."""

from __future__ import annotations

from pathlib import Path

import geopandas
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from yields.pipeline import Outcome

mpl.use("Agg")
MOST_DISTRICTS = 30


def draw(outcome: Outcome, path: Path, unit: str) -> None:
    """Write the picture as PNG; without forecasts only the season and the map of its integral."""
    is_forecast = outcome.districts is not None and len(outcome.districts) > 0
    figure = Figure(figsize=(11, 8.5 if is_forecast else 4.3), layout="constrained")
    axes = figure.subplots(2 if is_forecast else 1, 2, squeeze=False)
    season(axes[0][0], outcome)
    if is_forecast:
        field_map(axes[0][1], outcome.fields, "yield_forecast", f"forecast, {unit}")
        held_out(axes[1][0], outcome.fields, unit)
        districts(axes[1][1], outcome.districts, unit)
    else:
        column = f"{outcome.indices[0]}_integral"
        field_map(axes[0][1], outcome.fields, column, f"{outcome.indices[0].upper()} integral, days")
    figure.savefig(path, dpi=100, format="png", metadata={"Software": None})


def season(axis: Axes, outcome: Outcome) -> None:
    """The first index through time: median and the middle half of the fields of each class."""
    name = outcome.indices[0]
    columns = [f"{name}_{day:%Y%m%d}" for day in outcome.days]
    for crop, fields in outcome.fields.groupby("class_name"):
        if fields[columns].notna().any(axis=None):
            low, middle, high = fields[columns].quantile([0.25, 0.5, 0.75]).to_numpy()
            (line,) = axis.plot(
                outcome.days, middle, marker="o", markersize=3, label=f"{crop} ({len(fields)})"
            )
            axis.fill_between(outcome.days, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axis.set(title="season: median and middle half of the fields", ylabel=name.upper())
    axis.tick_params(axis="x", rotation=30)
    axis.legend(fontsize=8, framealpha=0.7)


def field_map(axis: Axes, fields: geopandas.GeoDataFrame, column: str, title: str) -> None:
    """Fields in the colour of a column, grey where it is null."""
    fields.plot(
        ax=axis,
        column=column,
        cmap="viridis",
        legend=True,
        legend_kwds={"shrink": 0.8},
        missing_kwds={"color": "#dddddd"},
        edgecolor="none",
    )
    axis.set(title=title, xticks=[], yticks=[], xlabel="", ylabel="")


def held_out(axis: Axes, fields: geopandas.GeoDataFrame, unit: str) -> None:
    """Known yields against forecasts of models that had not seen the district."""
    known = fields[fields["held_out"]]
    for crop, part in known.groupby("class_name"):
        axis.plot(part["yield_known"], part["yield_forecast"], ".", markersize=4, label=crop)
    ends = np.array(
        [
            known[["yield_known", "yield_forecast"]].min(axis=None),
            known[["yield_known", "yield_forecast"]].max(axis=None),
        ]
    )
    axis.plot(ends, ends, color="black", linewidth=0.8)
    axis.set(title="fields of held-out districts", xlabel=f"known, {unit}", ylabel=f"forecast, {unit}")
    axis.legend(fontsize=8, framealpha=0.7)


def districts(axis: Axes, table: geopandas.GeoDataFrame, unit: str) -> None:
    """Mean yield of districts with its interval."""
    shown = sorted(table["district"].unique())[:MOST_DISTRICTS]
    crops = sorted(table["class_name"].unique())
    for place, crop in enumerate(crops):
        part = table[(table["class_name"] == crop) & table["district"].isin(shown)]
        heights = [shown.index(name) + (place + 1) / (len(crops) + 1) - 0.5 for name in part["district"]]
        arms = np.abs(part[["yield_low", "yield_high"]].sub(part["yield_forecast"], axis=0).to_numpy().T)
        axis.errorbar(
            part["yield_forecast"], heights, xerr=arms, fmt="o", markersize=3, capsize=2, label=crop
        )
    more = table["district"].nunique() - len(shown)
    axis.set(title="districts" + (f" (first {len(shown)}, {more} more)" if more else ""), xlabel=unit)
    axis.set_yticks(range(len(shown)), shown, fontsize=7)
    axis.legend(fontsize=8, framealpha=0.7)
