"""What a model package says about its network: bands, classes, chip, calibration, and where to trust it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import LandClass, check_class_ids, require_text
from geoseg.errors import ModelError

INVALID_RULES = ("all", "any")


@dataclass(frozen=True, slots=True)
class ModelBand:
    """One band that a network reads, in physical units (stored value times scale plus offset).

    Attributes:
        name: common name as in STAC ("blue", "nir", "swir16" ...), or any other unique name.
        mean: subtracted before the network sees a value.
        std: divided by, greater than 0.
        low: 1st percentile of the training values.
        high: 99th percentile of the training values.

    Raises:
        ModelError: if a number is missing or not finite, `std` is not positive, or `low` is above `high`.
    """

    name: str
    mean: float
    std: float
    low: float
    high: float

    def __post_init__(self) -> None:
        require_text(self.name, "the name of a band")
        for key in ("mean", "std", "low", "high"):
            object.__setattr__(self, key, _finite(getattr(self, key), f'{key} of band "{self.name}"'))
        if self.std <= 0:
            raise ModelError(f'band "{self.name}" has std {self.std:g}; it must be greater than 0')
        if self.low > self.high:
            raise ModelError(f'band "{self.name}" has low {self.low:g} above high {self.high:g}; swap them')


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """Everything about a model except its weights.

    Mappings hold JSON values only and are copied, so a card can be pickled and written to `mlm.json`.

    Attributes:
        name: name of the package.
        version: version of the package.
        summary: one or two sentences.
        bands: what the network reads, in its order.
        classes: what it tells apart, by ascending id; index i of the network's output is `classes[i]`.
        units: what band values mean: "reflectance", "digital numbers" ...
        value_scale: physical = stored * value_scale + value_offset, as it was in the training data.
        value_offset: see `value_scale`.
        gsd: metres a pixel of the training data, None if it is not known.
        gsd_estimated: whether `gsd` was estimated from what the scenes show, because they do not say it.
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
        ModelError: naming the first field that cannot be right.
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
        for key in ("summary", "trained_on", "license", "citation", "trust"):
            if not isinstance(getattr(self, key), str):
                raise ModelError(f"`{key}` of the model card is {getattr(self, key)!r}; it must be a text")
        if self.encoder is not None:
            require_text(self.encoder, "`encoder` of the model card")
        self._check_bands()
        self._check_classes()
        self._check_numbers()
        for key in ("network", "metrics", "baseline", "quantization"):
            object.__setattr__(self, key, _plain(getattr(self, key), key))
        object.__setattr__(self, "temperatures", _temperatures(self.temperatures))

    @property
    def means(self) -> NDArray[np.float32]:
        """Per-band means, (bands,) float32, in physical units."""
        return np.array([band.mean for band in self.bands], np.float32)

    @property
    def stds(self) -> NDArray[np.float32]:
        """Per-band standard deviations, (bands,) float32, in physical units."""
        return np.array([band.std for band in self.bands], np.float32)

    @property
    def class_ids(self) -> NDArray[np.uint8]:
        """Class ids by network index, (classes,) uint8, ascending."""
        return np.array([land_class.id for land_class in self.classes], np.uint8)

    @property
    def band_names(self) -> tuple[str, ...]:
        """Common names of the bands in the network's order."""
        return tuple(band.name for band in self.bands)

    def _check_bands(self) -> None:
        object.__setattr__(self, "bands", tuple(self.bands))
        if not self.bands:
            raise ModelError("the model card lists no bands; name at least one")
        _require_unique(self.band_names, "band")

    def _check_classes(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        if not self.classes:
            raise ModelError("the model card lists no classes; name at least one")
        ids = [land_class.id for land_class in self.classes]
        check_class_ids(ids)
        if ids != sorted(ids):
            raise ModelError(f"classes are listed as {ids}; list them by ascending id: {sorted(ids)}")
        _require_unique([land_class.name for land_class in self.classes], "class")

    def _check_numbers(self) -> None:
        object.__setattr__(self, "chip_size", _whole(self.chip_size, "chip_size", least=1))
        object.__setattr__(self, "overlap", _whole(self.overlap, "overlap", least=0))
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
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool | str) or not math.isfinite(number):
        raise ModelError(f"{what} is {value!r}; it must be a finite number")
    return number


def _whole(value: object, what: str, least: int) -> int:
    number = _finite(value, f"`{what}`")
    if number != int(number) or number < least:
        raise ModelError(f"`{what}` is {value!r}; it must be a whole number of at least {least}")
    return int(number)


def _plain(mapping: Mapping[str, Any], what: str) -> dict[str, Any]:
    """A deep copy that holds only what JSON holds (tuples become lists)."""
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
