"""A model card as a person reads it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from geoseg.models.card import ModelCard

_WIDTH = 100
_LABEL = 14
_INTERVAL = "_interval"


def describe(card: ModelCard) -> str:
    """Plain text: what a model reads, what it tells apart, how good it is, where it is to be trusted.

    Args:
        card: of a bundled or loaded model.

    Returns:
        Lines of at most 100 characters where words allow it, without a newline at the end.
    """
    lines = [f"{card.name} {card.version}"]
    if card.summary:
        lines += textwrap.wrap(card.summary, _WIDTH)
    lines += ["", *_network(card), "", *_bands(card), "", *_classes(card)]
    for title, values in (("Measured", card.metrics), ("Baseline", card.baseline)):
        if values:
            lines += ["", title, *_values(values, 1)]
    if card.quantization:
        lines += ["", "With --precision int8", *_values(card.quantization, 1)]
    if not card.metrics:
        lines += ["", "Measured", "  nothing: the package does not say how good this model is"]
    lines += ["", *_labelled("Calibration", _calibration(card))]
    for label, text in (
        ("Trust", card.trust),
        ("Trained on", card.trained_on),
        ("License", card.license),
        ("Citation", card.citation),
    ):
        lines += _labelled(label, text)
    return "\n".join(lines)


def _network(card: ModelCard) -> list[str]:
    encoder = f" with encoder {card.encoder}" if card.encoder else ""
    gsd = "unknown" if card.gsd is None else f"{card.gsd:.3g} m"
    if card.gsd_estimated:
        gsd = f"about {gsd}, estimated from what the training scenes show"
    invalid = "all of its bands are" if card.invalid_where == "all" else "any of its bands is"
    return [
        *_labelled("Architecture", f"{card.architecture}{encoder}"),
        *_labelled("Pixel size", gsd),
        *_labelled("Chips", f"{card.chip_size} pixels, overlapping by {card.overlap}"),
        *_labelled("Nodata", f"a pixel is invalid where {invalid} nodata"),
    ]


def _bands(card: ModelCard) -> list[str]:
    stored = f"stored value x {card.value_scale:g}"
    if card.value_offset:
        stored += f" {'+' if card.value_offset > 0 else '-'} {abs(card.value_offset):g}"
    rows: list[tuple[str, ...]] = [("name", "mean", "std", "1 %", "99 %")]
    rows += [
        (band.name, *(f"{value:.4g}" for value in (band.mean, band.std, band.low, band.high)))
        for band in card.bands
    ]
    return [f"Bands ({card.units}; in training: {stored})", *_table(rows)]


def _classes(card: ModelCard) -> list[str]:
    rows = [(str(land_class.id), land_class.color, land_class.name) for land_class in card.classes]
    width = max(len(row[0]) for row in rows)
    return ["Classes", *(f"  {number:>{width}}  {color}  {name}" for number, color, name in rows)]


def _calibration(card: ModelCard) -> str:
    if not card.temperatures:
        return "none: confidence is not calibrated"
    fitted = ", ".join(f"{value:.3g} ({name})" for name, value in sorted(card.temperatures.items()))
    return f"temperature by test-time augmentation: {fitted}"


def _labelled(label: str, text: str) -> list[str]:
    if not text:
        return []
    indent = " " * _LABEL
    return textwrap.wrap(text, _WIDTH, initial_indent=f"{label:<{_LABEL}}", subsequent_indent=indent)


def _values(values: Mapping[str, Any], depth: int) -> Iterator[str]:
    """One line a value, its 95 % interval behind it, nested mappings indented below their name."""
    indent = "  " * depth
    for key, value in values.items():
        label = str(key).replace("_", " ")
        if key.endswith(_INTERVAL) and key.removesuffix(_INTERVAL) in values:
            continue
        if isinstance(value, Mapping):
            yield f"{indent}{label}"
            yield from _values(value, depth + 1)
        else:
            yield from textwrap.wrap(
                f"{label}: {_value(value)}{_between(values.get(f'{key}{_INTERVAL}'))}",
                _WIDTH,
                initial_indent=indent,
                subsequent_indent=f"{indent}  ",
            )


def _between(interval: Any) -> str:
    """The bounds of a 95 % interval, if there are two."""
    if not isinstance(interval, list) or len(interval) != 2:
        return ""
    return f" (95 % interval {_value(interval[0])} to {_value(interval[1])})"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return ", ".join(_value(entry) for entry in value)
    return "unknown" if value is None else str(value)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + f"{row[0]:<{widths[0]}}" + "".join(f"  {row[i]:>{widths[i]}}" for i in range(1, len(row)))
        for row in rows
    ]
