"""The model card: bands, classes, chips, calibration, measured quality, and where to trust the model.

`ModelCard` is the value; `describe` writes it as text.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import LandClass, check_class_ids, require_text
from geoseg.errors import ModelError
from geoseg.models.region import ModelRegion, months_in_words, read_gsd_range, read_months
from geoseg.models.transforms import Chain, Transform

INVALID_RULES = ("all", "any")
# Of the text that `describe` writes.
_WIDTH = 100
_LABEL = 14
_INTERVAL = "_interval"


@dataclass(frozen=True, slots=True)
class ModelBand:
    """One band that a network reads, in physical units (stored value times scale plus offset).

    Attributes:
        name: common name as in STAC ("blue", "nir", "swir16" ...), or any other unique name.
        mean: subtracted from the transformed value before the network sees it.
        std: divided by then, greater than 0.
        low: 1st percentile of the training values.
        high: 99th percentile of the training values.
        transforms: what is done to a value first, in order; usually nothing.

    Raises:
        ModelError: if a number is missing or not finite, `std` is not positive, or `low` is above `high`.
    """

    name: str
    mean: float
    std: float
    low: float
    high: float
    transforms: Chain = ()

    def __post_init__(self) -> None:
        require_text(self.name, "the name of a band")
        for key in ("mean", "std", "low", "high"):
            object.__setattr__(self, key, _finite(getattr(self, key), f'{key} of band "{self.name}"'))
        if self.std <= 0:
            raise ModelError(f'band "{self.name}" has std {self.std:g}; it must be greater than 0')
        if self.low > self.high:
            raise ModelError(f'band "{self.name}" has low {self.low:g} above high {self.high:g}; swap them')
        object.__setattr__(self, "transforms", tuple(self.transforms))
        if not all(isinstance(step, Transform) for step in self.transforms):
            raise ModelError(f'band "{self.name}" has transforms that are none: {self.transforms!r}')

    @property
    def typical(self) -> float:
        """A usual value in physical units: the mean, or of a band with transforms the middle of its range."""
        return (self.low + self.high) / 2 if self.transforms else self.mean


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """Everything about a model except its weights.

    Mappings hold JSON values only and are copied, so a card can be pickled and written to `mlm.json`.

    Attributes:
        name: name of the package.
        version: version of the package.
        summary: one or two sentences.
        bands: the bands that the network reads, in its order.
        classes: the classes it tells apart, by ascending id; index i of the network's output is `classes[i]`.
        units: what band values mean: "reflectance", "digital numbers" ...
        value_scale: physical = stored * value_scale + value_offset, as it was in the training data.
        value_offset: see `value_scale`.
        gsd: metres a pixel of the training data, None if it is not known.
        gsd_estimated: whether `gsd` was estimated from objects in the scenes.
        gsd_range: least and most metres a pixel that the model is for; None where only `gsd` says it.
        region: where the model is for: bounding boxes (west, south, east, north) in degrees, one or a list of
            them, or a GeoJSON geometry; None for a model that is for any place.
        region_name: the region in a few words, such as "North Dakota and around".
        months: the months of the year that the model is for, 1 to 12; empty for any.
        chip_size: pixels a side of the chips the network is run on.
        overlap: pixels that neighbouring chips share, at most half of `chip_size`.
        invalid_where: a pixel is invalid where "all" or "any" of its bands are nodata.
        temperatures: test-time augmentation ("none", "flips", "d4") -> calibration temperature; empty if
            uncalibrated.
        architecture: name for `build_network`.
        encoder: name for `build_network`; None where the architecture has none.
        network: further arguments of `build_network`.
        trained_on: training data in words.
        license: licence of the weights, an SPDX identifier if it has one.
        citation: how to cite the training data.
        metrics: measured quality, with the split it was measured on.
        baseline: quality of a simpler method on the same split.
        quantization: what quantizing to int8 changed; empty where the package has no int8 network.
        trust: plain words on where the model is, and is not, to be trusted.

    Raises:
        ModelError: naming the first field that is invalid.
    """

    name: str
    bands: tuple[ModelBand, ...]
    classes: tuple[LandClass, ...]
    architecture: str
    encoder: str | None = None
    network: Mapping[str, Any] = field(default_factory=dict)
    chip_size: int = 512
    overlap: int = 64
    version: str = "1.0.0"
    summary: str = ""
    units: str = "reflectance"
    value_scale: float = 1.0
    value_offset: float = 0.0
    gsd: float | None = None
    gsd_estimated: bool = False
    gsd_range: tuple[float, float] | None = None
    region: ModelRegion | None = None
    region_name: str = ""
    months: tuple[int, ...] = ()
    invalid_where: str = "all"
    temperatures: Mapping[str, float] = field(default_factory=dict)
    trained_on: str = ""
    license: str = ""
    citation: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    baseline: Mapping[str, Any] = field(default_factory=dict)
    quantization: Mapping[str, Any] = field(default_factory=dict)
    trust: str = ""

    def __post_init__(self) -> None:
        for key in ("name", "version", "architecture", "units"):
            require_text(getattr(self, key), f"`{key}` of the model card")
        for key in ("summary", "region_name", "trained_on", "license", "citation", "trust"):
            if not isinstance(getattr(self, key), str):
                raise ModelError(f"`{key}` of the model card is {getattr(self, key)!r}; it must be a text")
        if self.encoder is not None:
            require_text(self.encoder, "`encoder` of the model card")
        for key in ("bands", "classes"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
            if not getattr(self, key):
                raise ModelError(f"the model card lists no {key}; name at least one")
        _require_unique(self.band_names, "band")
        ids = [land_class.id for land_class in self.classes]
        check_class_ids(ids)
        if ids != sorted(ids):
            raise ModelError(f"classes are listed as {ids}; list them by ascending id: {sorted(ids)}")
        _require_unique([land_class.name for land_class in self.classes], "class")
        self._check_numbers()
        self._check_domain()
        for key in ("network", "metrics", "baseline", "quantization"):
            object.__setattr__(self, key, _plain(getattr(self, key), key))
        object.__setattr__(self, "temperatures", _temperatures(self.temperatures))

    @property
    def means(self) -> NDArray[np.float32]:
        """Per-band means, (bands,) float32, of transformed values."""
        return np.array([band.mean for band in self.bands], np.float32)

    @property
    def stds(self) -> NDArray[np.float32]:
        """Per-band standard deviations, (bands,) float32, of transformed values."""
        return np.array([band.std for band in self.bands], np.float32)

    @property
    def transforms(self) -> tuple[Chain, ...]:
        """Transforms of each band; empty where no band has any."""
        chains = tuple(band.transforms for band in self.bands)
        return chains if any(chains) else ()

    @property
    def class_ids(self) -> NDArray[np.uint8]:
        """Class ids by network index, (classes,) uint8, ascending."""
        return np.array([land_class.id for land_class in self.classes], np.uint8)

    @property
    def band_names(self) -> tuple[str, ...]:
        """Common names of the bands in the network's order."""
        return tuple(band.name for band in self.bands)

    @property
    def is_special(self) -> bool:
        """Whether the model is for a region, or for some months of the year."""
        return self.region is not None or 0 < len(self.months) < 12

    @property
    def region_in_words(self) -> str:
        """The region: ``North Dakota and around (45 to 50 N, 96 to 101 W)``; empty if there is none."""
        return f"{self.region_name} ({self.region})" if self.region_name else str(self.region or "")

    @property
    def gsd_in_words(self) -> str:
        """The pixel sizes that it is for: ``10 to 30 m``, ``30 m``, ``about 1 m``; empty if not known."""
        if self.gsd_range is not None:
            least, most = (f"{metres:.3g}" for metres in self.gsd_range)
            return f"{least} m" if least == most else f"{least} to {most} m"
        about = "about " if self.gsd_estimated else ""
        return "" if self.gsd is None else f"{about}{self.gsd:.3g} m"

    def _check_domain(self) -> None:
        object.__setattr__(self, "months", read_months(self.months))
        if self.region is not None:
            object.__setattr__(self, "region", ModelRegion.read(self.region))
        elif self.region_name:
            raise ModelError("`region_name` names a region, but there is no `region`; give its borders")
        if self.gsd_range is not None:
            object.__setattr__(self, "gsd_range", read_gsd_range(self.gsd_range))

    def _check_numbers(self) -> None:
        for key, least in (("chip_size", 1), ("overlap", 0)):
            number = _finite(getattr(self, key), f"`{key}`")
            if number != int(number) or number < least:
                raise ModelError(
                    f"`{key}` is {getattr(self, key)!r}; it must be a whole number of at least {least}"
                )
            object.__setattr__(self, key, int(number))
        if 2 * self.overlap > self.chip_size:
            raise ModelError(f"overlap {self.overlap} is more than half of chip_size {self.chip_size}")
        for key in ("value_scale", "value_offset"):
            object.__setattr__(self, key, _finite(getattr(self, key), f"`{key}`"))
        if self.value_scale == 0:
            raise ModelError("`value_scale` is 0; use 1 where stored values are physical values")
        if self.gsd is not None:
            object.__setattr__(self, "gsd", _finite(self.gsd, "`gsd`"))
            if self.gsd <= 0:
                raise ModelError(f"`gsd` is {self.gsd:g}; it is metres a pixel and greater than 0")
        elif self.gsd_estimated:
            raise ModelError("`gsd_estimated` is true, but there is no `gsd`; give the estimate as `gsd`")
        if self.invalid_where not in INVALID_RULES:
            raise ModelError(f'`invalid_where` is "{self.invalid_where}"; use "all" or "any"')


def _require_unique(names: Sequence[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ModelError(f'two {what} entries are named "{name}"; every {what} needs its own name')


def _finite(value: object, what: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):  # of whole numbers that no float holds
        number = math.nan
    if isinstance(value, bool | str) or not math.isfinite(number):
        raise ModelError(f"{what} is {value!r}; it must be a finite number")
    return number


def _plain(mapping: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Copy a mapping, keeping only what JSON holds (tuples become lists)."""
    if not isinstance(mapping, Mapping):
        raise ModelError(f"`{what}` of the model card is {mapping!r}; it must be a mapping")
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(mapping), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ModelError(f"`{what}` of the model card holds a value that JSON cannot: {error}") from error
    return copy


def _temperatures(temperatures: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(temperatures, Mapping):
        raise ModelError(f"`temperatures` is {temperatures!r}; it must map an augmentation to a number")
    checked = {}
    for name, value in temperatures.items():
        checked[str(name)] = _finite(value, f'the temperature for "{name}"')
        if checked[str(name)] <= 0:
            raise ModelError(f'the temperature for "{name}" is {value:g}; it must be greater than 0')
    return checked


def describe(card: ModelCard) -> str:
    """Describe in plain text what a model reads and tells apart, how good it is, and where to trust it.

    Args:
        card: the card of a bundled or loaded model.

    Returns:
        Lines of at most 100 characters where words allow it, without a newline at the end.
    """
    lines = [f"{card.name} {card.version}"]
    if card.summary:
        lines += textwrap.wrap(card.summary, _WIDTH)
    lines += ["", *_network_lines(card), "", *_band_table(card), *_transform_lines(card)]
    lines += ["", *_class_table(card)]
    for title, values in (("Measured", card.metrics), ("Baseline", card.baseline)):
        if values:
            lines += ["", title, *_value_lines(values, 1)]
    if card.quantization:
        lines += ["", "With --precision int8", *_value_lines(card.quantization, 1)]
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


def _network_lines(card: ModelCard) -> list[str]:
    encoder = f" with encoder {card.encoder}" if card.encoder else ""
    gsd = card.gsd_in_words or "unknown"
    if card.gsd_range is not None and card.gsd is not None:
        gsd += f", trained at {'about ' if card.gsd_estimated else ''}{card.gsd:.3g} m"
    if card.gsd_estimated:
        gsd += ", estimated from what the training scenes show"
    invalid = "all of its bands are" if card.invalid_where == "all" else "any of its bands is"
    return [
        *_labelled("Architecture", f"{card.architecture}{encoder}"),
        *_labelled("Pixel size", gsd),
        *_labelled("Region", ": ".join(filter(None, (card.region_name, str(card.region or ""))))),
        *_labelled("Season", months_in_words(card.months)),
        *_labelled("Chips", f"{card.chip_size} pixels, overlapping by {card.overlap}"),
        *_labelled("Nodata", f"a pixel is invalid where {invalid} nodata"),
    ]


def _band_table(card: ModelCard) -> list[str]:
    stored = f"stored value x {card.value_scale:g}"
    if card.value_offset:
        stored += f" {'+' if card.value_offset > 0 else '-'} {abs(card.value_offset):g}"
    rows: list[tuple[str, ...]] = [("name", "mean", "std", "1 %", "99 %")]
    rows += [
        (band.name, *(f"{value:.4g}" for value in (band.mean, band.std, band.low, band.high)))
        for band in card.bands
    ]
    return [f"Bands ({card.units}; in training: {stored})", *_table(rows)]


def _transform_lines(card: ModelCard) -> list[str]:
    """Say what is done to values first: once, or for each band where bands differ."""
    if not card.transforms:
        return []
    steps = {band.name: ", ".join(map(str, band.transforms)) or "as they are" for band in card.bands}
    if len(set(steps.values())) == 1:
        steps = {"all": next(iter(steps.values()))}
    lines = [f"{name}: {text}" for name, text in steps.items()]
    wrapped = [textwrap.wrap(line, _WIDTH, initial_indent="  ", subsequent_indent="    ") for line in lines]
    return ["", "Transforms, before mean and std", *(line for part in wrapped for line in part)]


def _class_table(card: ModelCard) -> list[str]:
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


def _value_lines(values: Mapping[str, Any], depth: int) -> Iterator[str]:
    """Write one line a value, with its 95 % interval; nested mappings are indented below their name."""
    indent = "  " * depth
    for key, value in values.items():
        label = str(key).replace("_", " ")
        if key.endswith(_INTERVAL) and key.removesuffix(_INTERVAL) in values:
            continue
        if isinstance(value, Mapping):
            yield f"{indent}{label}"
            yield from _value_lines(value, depth + 1)
        else:
            yield from textwrap.wrap(
                f"{label}: {_as_text(value)}{_between(values.get(f'{key}{_INTERVAL}'))}",
                _WIDTH,
                initial_indent=indent,
                subsequent_indent=f"{indent}  ",
            )


def _between(interval: Any) -> str:
    """Write the bounds of a 95 % interval, if there are two."""
    if not isinstance(interval, list) or len(interval) != 2:
        return ""
    return f" (95 % interval {_as_text(interval[0])} to {_as_text(interval[1])})"


def _as_text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return ", ".join(_as_text(entry) for entry in value)
    return "unknown" if value is None else str(value)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + f"{row[0]:<{widths[0]}}" + "".join(f"  {row[i]:>{widths[i]}}" for i in range(1, len(row)))
        for row in rows
    ]
