"""The plots of a report as SVG, written by hand: no script, no font, nothing to fetch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_INK, _FAINT, _GRID, _ACCENT = "#1f2a24", "#6b756f", "#dfe4e0", "#2f6f4f"
_ROW = 26
_LETTER = 6.6
"""Width of a letter at 12 pixels, about."""


def heat_map(names: Sequence[str], counts: Sequence[Sequence[float]]) -> str:
    """A confusion matrix; every row in percent of its label.

    Args:
        names: Class names.
        counts: Pixels or samples by label (row) and map class (column).
    """
    cell = max(34, min(58, 620 // max(len(names), 1)))
    left, top = _label_width(names) + 24, _label_width(names) * 0.75 + 38
    size = cell * len(names)
    parts = [_text(left + size / 2, 14, "map", _FAINT), _turned(12, top + size / 2, "labels")]
    for i, name in enumerate(names):
        parts.append(_text(left - 8, top + cell * (i + 0.5) + 4, name, anchor="end"))
        x, y = left + cell * (i + 0.5) - 2, top - 8
        parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" transform="rotate(-40 {x:.1f} {y:.1f})">{escape(name)}</text>'
        )
    for i, row in enumerate(counts):
        total = sum(row)
        for j, count in enumerate(row):
            share = count / total if total else 0.0
            x, y = left + cell * j, top + cell * i
            tip = f"{names[i]} shown as {names[j]}: {count:,.0f} ({share:.1%})"
            parts.append(
                f'<g><title>{escape(tip)}</title><rect x="{x:.1f}" y="{y:.1f}" width="{cell - 1}" '
                f'height="{cell - 1}" fill="{_shade(share, i == j) if total else "#f6f6f4"}"/>'
            )
            if total and share >= 0.005:
                ink = "#ffffff" if share > 0.55 else _INK
                parts.append(_text(x + cell / 2, y + cell / 2 + 4, f"{100 * share:.0f}", ink))
            parts.append("</g>")
    return _svg(left + size + _label_width(names) * 0.75, top + size + 6, parts, "Confusion matrix")


def class_bars(rows: Sequence[Mapping[str, Any]], key: str = "iou") -> str:
    """One bar a class with its interval; rows as in the report's ``classes``."""
    names = [row["name"] for row in rows]
    left, width = _label_width(names) + 14, 420
    parts = [
        _vertical(left + width * tick / 4, 8, 16 + _ROW * len(rows), f"{tick / 4:g}") for tick in range(5)
    ]
    for i, row in enumerate(rows):
        y = 12 + _ROW * i
        parts.append(_text(left - 8, y + 15, row["name"], anchor="end"))
        value = row.get(key)
        if value is None:
            parts.append(_text(left + 6, y + 15, "no pixels", _FAINT, "start"))
            continue
        parts.append(
            f'<rect x="{left:.1f}" y="{y + 3}" width="{max(width * value, 1):.1f}" height="{_ROW - 8}" '
            f'rx="2" fill="{row["color"]}" stroke="#00000040"/>'
        )
        interval = row.get(f"{key}_interval")
        if interval:
            parts.append(_whisker(left + width * interval[0], left + width * interval[1], y + _ROW / 2 - 1))
        reach = interval[1] if interval else value
        parts.append(_text(left + width * reach + 8, y + 15, f"{value:.2f}", anchor="start"))
    return _svg(left + width + 60, 36 + _ROW * len(rows), parts, f"{key.upper()} by class")


def reliability(bins: Sequence[Mapping[str, Any]]) -> str:
    """A reliability diagram: accuracy by confidence, and how many pixels have that confidence."""
    left, top, size, low = 52, 10, 300, 64
    parts = []
    for tick in range(6):
        at = tick / 5
        parts.append(_vertical(left + size * at, top, top + size, f"{at:g}"))
        y = top + size * (1 - at)
        parts.append(f'<line x1="{left}" y1="{y}" x2="{left + size}" y2="{y}" stroke="{_GRID}"/>')
        parts.append(_text(left - 8, y + 4, f"{at:g}", _FAINT, "end"))
    most = max((row["pixels"] for row in bins), default=0) or 1
    base = top + size + 38 + low
    for row in bins:
        if not row["pixels"]:
            continue
        x, width = left + size * row["low"], size * (row["high"] - row["low"])
        height = size * row["accuracy"]
        tip = (
            f"confidence {row['confidence']:.2f}, right {row['accuracy']:.2f} of the time, {row['pixels']:,} "
            "pixels"
        )
        parts.append(
            f'<g><title>{tip}</title><rect x="{x + 1:.1f}" y="{top + size - height:.1f}" '
            f'width="{width - 2:.1f}" height="{height:.1f}" fill="{_ACCENT}" opacity="0.75"/>'
        )
        tall = low * row["pixels"] / most
        parts.append(
            f'<rect x="{x + 1:.1f}" y="{base - tall:.1f}" width="{width - 2:.1f}" height="{tall:.1f}" '
            f'fill="{_FAINT}"/></g>'
        )
    parts.append(
        f'<line x1="{left}" y1="{top + size}" x2="{left + size}" y2="{top}" stroke="{_INK}" '
        'stroke-dasharray="5 4"/>'
    )
    parts.append(f'<line x1="{left}" y1="{base}" x2="{left + size}" y2="{base}" stroke="{_GRID}"/>')
    parts.append(_turned(14, top + size / 2, "share that is right"))
    parts.append(_turned(14, base - low / 2, "pixels"))
    parts.append(_text(left + size / 2, base + 20, "confidence", _FAINT))
    return _svg(left + size + 16, base + 28, parts, "Reliability diagram")


def area_dots(rows: Sequence[Mapping[str, Any]]) -> str:
    """Mapped area (ring) and estimated area with its interval (dot and line) of each class.

    Args:
        rows: ``name``, ``color``, ``mapped``, ``estimated`` and ``interval`` of each class.
    """
    left, width = _label_width([row["name"] for row in rows]) + 22, 420
    ends = [row["mapped"] for row in rows] + [row["interval"][1] for row in rows if row["interval"]]
    ticks = _ticks(max(ends, default=1.0) or 1.0)
    most = ticks[-1]
    parts = [_vertical(left + width * tick / most, 8, 16 + _ROW * len(rows), _short(tick)) for tick in ticks]
    for i, row in enumerate(rows):
        y = 12 + _ROW * i + _ROW / 2
        parts.append(_text(left - 14, y + 3, row["name"], anchor="end"))
        if row["interval"]:
            start, stop = (left + width * value / most for value in row["interval"])
            parts.append(_whisker(start, stop, y - 1))
        if row["estimated"] is not None:
            x = left + width * row["estimated"] / most
            parts.append(f'<circle cx="{x:.1f}" cy="{y - 1}" r="5" fill="{row["color"]}" stroke="{_INK}"/>')
        x = left + width * row["mapped"] / most
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y - 1}" r="7.5" fill="none" stroke="{_FAINT}" stroke-width="1.5"/>'
        )
    return _svg(left + width + 40, 36 + _ROW * len(rows), parts, "Class areas")


def _svg(width: float, height: float, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img" '
        f'aria-label="{escape(title)}" font-size="12" fill="{_INK}">' + "".join(parts) + "</svg>"
    )


def _text(x: float, y: float, text: str, fill: str = _INK, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" text-anchor="{anchor}">{escape(text)}</text>'


def _turned(x: float, y: float, text: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{_FAINT}" text-anchor="middle" '
        f'transform="rotate(-90 {x:.1f} {y:.1f})">{escape(text)}</text>'
    )


def _vertical(x: float, top: float, bottom: float, label: str) -> str:
    line = f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="{_GRID}"/>'
    return line + _text(x, bottom + 14, label, _FAINT)


def _whisker(start: float, stop: float, y: float) -> str:
    ends = "".join(
        f'<line x1="{x:.1f}" y1="{y - 4}" x2="{x:.1f}" y2="{y + 4}" stroke="{_INK}"/>' for x in (start, stop)
    )
    return f'<line x1="{start:.1f}" y1="{y}" x2="{stop:.1f}" y2="{y}" stroke="{_INK}"/>' + ends


def _label_width(names: Sequence[str]) -> float:
    return max((len(name) for name in names), default=0) * _LETTER


def _shade(share: float, is_right: bool) -> str:
    """White to green for what is right, white to red for what is not."""
    full = (32, 104, 72) if is_right else (178, 40, 46)
    strength = share**0.6
    return "#{:02x}{:02x}{:02x}".format(*(round(255 + (channel - 255) * strength) for channel in full))


def _ticks(most: float) -> list[float]:
    """Round numbers from 0 to just above ``most``."""
    power = 10.0 ** math.floor(math.log10(most / 4))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= most / 4)
    return [step * i for i in range(math.ceil(most / step) + 1)]


def _short(value: float) -> str:
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"
