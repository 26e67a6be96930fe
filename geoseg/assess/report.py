"""Render an evaluation report as plain text for a terminal or as one self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from geoseg.assess.examples import Example
from geoseg.assess.plots import area_dots, class_bars, heat_map, reliability
from geoseg.redaction import redacted


def render_text(report: Mapping[str, Any]) -> str:
    """Render the main figures with their intervals, and a row for each class."""
    summary = report["summary"]
    lines = [_figure("accuracy", summary, "accuracy"), _figure("mean IoU", summary, "miou")]
    lines += [_figure("weighted IoU", summary, "fwiou"), _figure("mean F1", summary, "mean_f1")]
    if summary.get("ece") is not None:
        lines.append(_figure("calibration error", summary, "ece"))
    for row in report.get("boundary", ()):
        lines.append(f"{'boundary F1 ' + row['tolerance']:<18} {_number(row['f1'])}")
    by_sample = report["kind"] == "sample"
    last = ["samples"] if by_sample else ["labelled", "mapped"]
    unit = report["areas"]["unit"]
    head = ["class", "", "IoU", "precision", "recall", "F1", *last, f"area {unit}", "+/-"]
    rows = [head]
    for item, area in zip(report["classes"], report["areas"]["classes"], strict=True):
        counts = [item["samples"]] if by_sample else [item["labelled_pixels"], item["mapped_pixels"]]
        scores = [_number(item[key]) for key in ("iou", "precision", "recall", "f1")]
        estimated, interval = area["estimated"], area["interval"]
        half = None if interval is None else (interval[1] - interval[0]) / 2
        numbers = [
            *scores,
            *(f"{count:,}" for count in counts),
            _rounded(estimated),
            _rounded(half),
        ]
        rows.append([str(item["id"]), item["name"], *numbers])
    return "\n".join([*lines, "", *_align(rows, left=2)])


def render_drawn(report: Mapping[str, Any]) -> str:
    """Render what was drawn, and what to do with it."""
    rows = [["class", "", "share", "drawn"]]
    rows += [
        [str(row["id"]), row["name"], f"{100 * row['share']:.1f} %", f"{row['drawn']:,}"]
        for row in report["strata"]
    ]
    needed = ", ".join(
        f"{count:,} for {error}" for error, count in report["needed_for_standard_error"].items()
    )
    return "\n".join(
        [
            *_align(rows, left=2),
            "",
            f"{report['drawn']:,} points; expected standard error of the accuracy "
            f"{report['expected_standard_error']:.3f} (in proportion: {needed})",
            'Fill in the column "reference" (class names or ids), then evaluate the map with --labels SAMPLE',
        ]
    )


def _figure(name: str, summary: Mapping[str, Any], key: str) -> str:
    interval = summary.get(f"{key}_interval")
    shown = f"  ({interval[0]:.3f} - {interval[1]:.3f})" if interval else ""
    return f"{name:<18} {_number(summary[key])}{shown}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _rounded(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _align(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Align columns: the first ``left`` flush left, the others flush right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def render_page(report: Mapping[str, Any], examples: Sequence[Example] = ()) -> str:
    """Render a report as HTML.

    Args:
        report: The report of ``geoseg.evaluate``.
        examples: Example chips to show.

    Returns:
        HTML without scripts and without references to anything outside it.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: redacted(value) if type(value) is str else value,  # plots are markup
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": _share, "interval": _interval, "amount": _amount, "sentence": _sentence}
    template = environment.from_string(files(__package__).joinpath("page.html.j2").read_text("utf-8"))
    return template.render(report=report, plots=_plots(report), examples=_pictures(examples))


def _plots(report: Mapping[str, Any]) -> dict[str, Any]:
    """Draw the plots by name; they are marked safe because ``plots`` escapes every text itself."""
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


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(value: Sequence[float] | None, digits: int = 3) -> str:
    return "" if not value else f"{value[0]:.{digits}f} – {value[1]:.{digits}f}"


def _amount(value: float | None) -> str:
    """Write an area with at least four significant digits and separated thousands."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
