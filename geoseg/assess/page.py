"""An evaluation report as one HTML page that holds everything it shows."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from geoseg.assess.examples import Example
from geoseg.assess.plots import area_dots, class_bars, heat_map, reliability


def render_page(report: Mapping[str, Any], examples: Sequence[Example] = ()) -> str:
    """Render a report.

    Args:
        report: What ``geoseg.evaluate`` reports.
        examples: Chips to show.

    Returns:
        HTML without scripts and without references to anything outside it.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"share": _share, "interval": _interval, "amount": _amount, "sentence": _sentence}
    template = environment.from_string(files(__package__).joinpath("page.html.j2").read_text("utf-8"))
    return template.render(report=report, plots=_plots(report), examples=_pictures(examples))


def _plots(report: Mapping[str, Any]) -> dict[str, Any]:
    """SVG by name; marked safe because ``plots`` escapes every text itself."""
    from markupsafe import Markup

    by_id = {row["id"]: row for row in report["classes"]}
    names = [by_id[value]["name"] for value in report["confusion"]["ids"]]
    counts = report["confusion"].get("pixels") or report["confusion"]["samples"]
    areas = [
        row | {key: by_id[row["id"]][key] for key in ("name", "color")} for row in report["areas"]["classes"]
    ]
    bins = (report.get("calibration") or {}).get("bins")
    plots = {
        "confusion": heat_map(names, counts),
        "iou": class_bars(report["classes"]),
        "areas": area_dots(areas),
        "reliability": reliability(bins) if bins else "",
    }
    return {name: Markup(svg) for name, svg in plots.items()}


def _pictures(examples: Sequence[Example]) -> list[dict[str, Any]]:
    return [
        {
            "title": example.title,
            "accuracy": example.accuracy,
            "window": example.window,
            "pictures": [
                (caption, "data:image/png;base64," + base64.b64encode(png).decode("ascii"))
                for caption, png in example.pictures.items()
            ],
        }
        for example in examples
    ]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _share(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _interval(value: Sequence[float] | None, digits: int = 3) -> str:
    return "" if not value else f"{value[0]:.{digits}f} – {value[1]:.{digits}f}"


def _amount(value: float | None) -> str:
    """Areas with four significant digits at least, thousands apart."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
