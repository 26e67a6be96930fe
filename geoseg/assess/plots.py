"""The plots of a report, drawn by matplotlib as SVG for embedding in the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from io import StringIO
from typing import Any

_INK, _FAINT, _GRID, _ACCENT = "#1f2a24", "#6b756f", "#dfe4e0", "#2f6f4f"
_INCH = 72
"""Points an inch. Sizes below are in points; the page shows one as 4 / 3 pixels."""
_LEAST = 20
"""Least width and height of a plot in points, for reports without rows."""
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text, in the page's own font
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "text.parse_math": False,  # a dollar in a class name is a dollar
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _FAINT,
    "axes.axisbelow": True,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.color": _GRID,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "ytick.labelcolor": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


def heat_map(names: Sequence[str], counts: Sequence[Sequence[float]]) -> str:
    """Draw a confusion matrix, every row in percent of its label.

    Args:
        names: Class names.
        counts: Pixels or samples by label (row) and map class (column).
    """
    from matplotlib.patches import Rectangle

    size = min(44 * len(names), max(26 * len(names), 465))
    with _Plot("Confusion matrix", size, size) as plot:
        axes = plot.axes()
        for i, row in enumerate(counts):
            total = sum(row)
            for j, count in enumerate(row):
                share = count / total if total else 0.0
                color = _shade(share, i == j) if total else "#f6f6f4"
                tip = f"{names[i]} shown as {names[j]}: {count:,.0f} ({share:.1%})"
                axes.add_patch(Rectangle((j, i), 0.97, 0.97, color=color, lw=0, gid=plot.tip(tip)))
                if share >= 0.005:
                    ink = "#ffffff" if share > 0.55 else _INK
                    axes.text(j + 0.485, i + 0.485, f"{100 * share:.0f}", color=ink, ha="center", va="center")
        middles = [i + 0.485 for i in range(len(names))]
        axes.set(xlim=(0, max(len(names), 1)), ylim=(max(len(names), 1), 0), aspect="equal")
        axes.set(xlabel="map", ylabel="labels", yticks=middles, yticklabels=names)
        axes.set_xticks(middles, names, rotation=40, ha="left", rotation_mode="anchor", color=_INK)
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.spines[:].set_visible(False)
    return plot.svg


def class_bars(rows: Sequence[Mapping[str, Any]]) -> str:
    """Draw the IoU of each class as a bar with its interval; rows as in the report's ``classes``."""
    with _Plot("IOU by class", 330, 20 * len(rows)) as plot:
        axes = plot.rows(rows)
        for y, row in enumerate(rows):
            value, interval = row.get("iou"), row.get("iou_interval")
            if value is None:
                axes.text(0.01, y, "no pixels", color=_FAINT, va="center")
                continue
            axes.barh(y, value, height=0.7, color=row["color"], edgecolor="#00000040", lw=0.75)
            if interval:
                _interval(axes, y, interval)
            axes.text((interval[1] if interval else value) + 0.015, y, f"{value:.2f}", va="center")
        axes.set(xlim=(0, 1.06))
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    return plot.svg


def reliability(bins: Sequence[Mapping[str, Any]]) -> str:
    """Draw a reliability diagram: accuracy by confidence, and the number of pixels with that confidence."""
    filled = [row for row in bins if row["pixels"]]
    with _Plot("Reliability diagram", 225, 300) as plot:
        upper, lower = plot.axes(2, height_ratios=(5, 1), hspace=0.2)
        for row in filled:
            tip = f"confidence {row['confidence']:.2f}, right {row['accuracy']:.2f} of the time, "
            tip += f"{row['pixels']:,} pixels"
            place = {"align": "edge", "width": row["high"] - row["low"], "edgecolor": "white", "lw": 1.5}
            for axes, height, color in (
                (upper, row["accuracy"], f"{_ACCENT}c0"),
                (lower, row["pixels"], _FAINT),
            ):
                axes.bar(row["low"], height, color=color, gid=plot.tip(tip), **place)
        upper.plot([0, 1], [0, 1], color=_INK, lw=0.75, dashes=(6, 5))
        ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
        upper.set(xlim=(0, 1), ylim=(0, 1), xticks=ticks, yticks=ticks, ylabel="share that is right")
        upper.grid()
        lower.set(xlabel="confidence", ylabel="pixels", yticks=[])
    return plot.svg


def area_dots(rows: Sequence[Mapping[str, Any]]) -> str:
    """Draw the mapped area (ring) and the estimated area with its interval (dot and line) of each class.

    Args:
        rows: ``name``, ``color``, ``mapped``, ``estimated`` and ``interval`` of each class.
    """
    from matplotlib.ticker import EngFormatter

    with _Plot("Class areas", 330, 20 * len(rows)) as plot:
        axes = plot.rows(rows)
        for y, row in enumerate(rows):
            if row["interval"]:
                _interval(axes, y, row["interval"])
            if row["estimated"] is not None:
                axes.plot(row["estimated"], y, "o", ms=7.5, color=row["color"], mec=_INK, mew=0.75)
            axes.plot(row["mapped"], y, "o", ms=11.5, color="none", mec=_FAINT, mew=1.1)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    return plot.svg


class _Plot:
    """A figure whose axes have a size in points; after its ``with`` block ``svg`` holds the picture."""

    def __init__(self, title: str, width: float, height: float) -> None:
        self.title, self.svg = title, ""
        self.size = (max(width, _LEAST) / _INCH, max(height, _LEAST) / _INCH)
        self._tips: list[str] = []

    def __enter__(self) -> _Plot:
        import matplotlib
        from matplotlib.figure import Figure

        self._style: Any = matplotlib.rc_context(_STYLE | {"svg.hashsalt": self.title})
        self._style.__enter__()
        self._figure = Figure(figsize=self.size)
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self.svg = self._as_svg()
        self._style.__exit__(*error)

    def axes(self, rows: int = 1, **options: Any) -> Any:
        """Make empty axes, one above the other."""
        inside = {"left": 0, "bottom": 0, "right": 1, "top": 1}
        return self._figure.subplots(rows, 1, gridspec_kw=inside | options, sharex=True)

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """Make axes with a row for each class, the first at the top."""
        axes = self.axes()
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
        axes.grid(axis="x")
        return axes

    def tip(self, text: str) -> str:
        """Register a tooltip, and return the id of the SVG group that shows it."""
        self._tips.append(text)
        return f"tip-{len(self._tips)}-{self.title.split()[0]}"

    def _as_svg(self) -> str:
        text = StringIO()
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        around = {"bbox_inches": "tight", "pad_inches": 0.05}
        self._figure.savefig(text, format="svg", transparent=True, metadata=no_metadata, **around)
        named = f'<svg role="img" aria-label="{escape(self.title)}"'
        svg = named + text.getvalue().partition("<svg")[2]
        tips, self._tips = self._tips, []
        for tip in tips:
            mark = f'<g id="{self.tip(tip)}">'
            svg = svg.replace(mark, f"{mark}<title>{escape(tip)}</title>")
        return svg


def _interval(axes: Any, y: float, bounds: Sequence[float]) -> None:
    axes.plot(bounds, [y, y], color=_INK, lw=0.75, marker="|", ms=6, mew=0.75)


def _shade(share: float, is_right: bool) -> str:
    """Mix a colour from white to green for correct cells, from white to red for errors."""
    full = (32, 104, 72) if is_right else (178, 40, 46)
    strength = share**0.6
    return "#{:02x}{:02x}{:02x}".format(*(round(255 + (channel - 255) * strength) for channel in full))
