"""The three kinds of maps (classes, confidence, probabilities): their pixels, styles and overviews.

Blended sums are converted to bytes in integer arithmetic, so every run rounds alike. Modules that only
writing needs are imported in functions, because workers render maps and write none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA, LandClass
from geoseg.inference.sums import SUM_ONE, Decision

CONFIDENCE_ONE = 100
"""The stored confidence that stands for 1."""

PROBABILITY_BYTE_ONE = 250
"""The stored 8-bit probability that stands for 1."""

_ROWS = 32
"""Rows rounded at once, few enough to stay in the processor's cache."""


class MapKind(Protocol):
    """One kind of raster that a run can write."""

    @property
    def name(self) -> str:
        """Name in reports: ``"classes"``, ``"confidence"``, ``"probabilities"``."""

    @property
    def overviews(self) -> str:
        """GDAL's name of the resampling for overviews."""

    @property
    def effort(self) -> int:
        """Level of deflate, 1 to 9."""

    @property
    def descriptions(self) -> tuple[str, ...]:
        """Name of each band."""

    @property
    def scale(self) -> float:
        """Physical value of one stored step (TIFF scale tag)."""

    def render(self, decision: Decision) -> NDArray[np.uint8]:
        """Return the pixels of one window, uint8 (bands, rows, columns); 255 if not valid."""

    def palette(self) -> dict[int, tuple[int, int, int, int]] | None:
        """Return the colour of each pixel value as RGBA, or None."""

    def sidecar(self) -> str | None:
        """Return the content of the ``.aux.xml`` beside the raster, or None."""

    def style(self) -> str:
        """Return the content of the ``.qml`` beside the raster."""


@dataclass(frozen=True)
class ClassMap:
    """The class of every pixel: a paletted raster of class ids.

    Attributes:
        classes: The model's classes by ascending id.
    """

    classes: Sequence[LandClass]
    name: str = "classes"
    overviews: str = "MODE"
    effort: int = 5
    descriptions: tuple[str, ...] = ("class",)
    scale: float = 1.0

    def render(self, decision: Decision) -> NDArray[np.uint8]:
        """Return class ids."""
        ids = np.array([item.id for item in self.classes], np.uint8)
        follow = ids[-1] - ids[0] == len(ids) - 1  # to add is faster than to look up
        pixels: NDArray[np.uint8] = decision.winner + ids[0] if follow else ids[decision.winner]
        if not decision.valid.all():
            np.copyto(pixels, NODATA, where=~decision.valid)
        return pixels[None]

    def palette(self) -> dict[int, tuple[int, int, int, int]]:
        """Return the colours of the classes; nodata is transparent."""
        return {item.id: (*rgb(item.color), 255) for item in self.classes} | {NODATA: (0, 0, 0, 0)}

    def sidecar(self) -> str:
        """Return class names and an attribute table."""
        from geoseg.maps.sidecar import class_table_xml

        return class_table_xml([(item.id, item.name, rgb(item.color)) for item in self.classes])

    def style(self) -> str:
        """Return a paletted renderer with class names."""
        from geoseg.maps.sidecar import palette_qml

        return palette_qml([(item.id, item.name, item.color) for item in self.classes])


@dataclass(frozen=True)
class ConfidenceMap:
    """The blended probability of the winning class, in percent, rounded half up."""

    name: str = "confidence"
    overviews: str = "AVERAGE"
    effort: int = 1  # more effort hardly makes noise smaller
    descriptions: tuple[str, ...] = ("confidence",)
    scale: float = 1 / CONFIDENCE_ONE

    def render(self, decision: Decision) -> NDArray[np.uint8]:
        """Return percent, 0 to 100."""
        return to_bytes(decision.top, CONFIDENCE_ONE, decision.valid)[None]

    def palette(self) -> None:
        """Return None: the values are a measure, not classes."""

    def sidecar(self) -> None:
        """Return None: the scale tag is enough."""

    def style(self) -> str:
        """Return a colour ramp from 0 to 100 percent."""
        from geoseg.maps.sidecar import ramp_qml

        return ramp_qml()


@dataclass(frozen=True)
class ProbabilityMap:
    """The blended probability of every class, one band per class by ascending id.

    Attributes:
        classes: The model's classes by ascending id.
    """

    classes: Sequence[LandClass]
    name: str = "probabilities"
    overviews: str = "AVERAGE"
    effort: int = 1  # more effort hardly makes noise smaller
    scale: float = 1 / PROBABILITY_BYTE_ONE

    @property
    def descriptions(self) -> tuple[str, ...]:
        """The classes' names."""
        return tuple(item.name for item in self.classes)

    def render(self, decision: Decision) -> NDArray[np.uint8]:
        """Return 0 to 250 for 0 to 1."""
        assert decision.sums is not None  # runs that write this map keep the sums
        return to_bytes(decision.sums, PROBABILITY_BYTE_ONE, decision.valid)

    def palette(self) -> None:
        """Return None: the values are a measure, not classes."""

    def sidecar(self) -> None:
        """Return None: band names and the scale tag are enough."""

    def style(self) -> str:
        """Return a colour ramp for the probability of the first class."""
        from geoseg.maps.sidecar import ramp_qml

        return ramp_qml()


def to_bytes(sums: NDArray[np.int32], one: int, valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Round blended sums half up to bytes.

    Args:
        sums: int32 (..., rows, columns) in units of ``SUM_ONE``.
        one: The byte that stands for 1.
        valid: bool (rows, columns).

    Returns:
        uint8, the shape of ``sums``; ``NODATA`` where not valid.
    """
    rounded = np.empty(sums.shape, np.uint8)
    # Casting truncates, so add 1/2 to round. Values then are multiples of 1 / (2 * SUM_ONE); adding half of
    # that too keeps each value away from the next integer by far more than the rounding error of float64.
    step, half = one / SUM_ONE, 0.5 + 0.25 / SUM_ONE
    planes, invalid = sums.reshape(-1, *valid.shape), ~valid
    for plane, target in zip(planes, rounded.reshape(planes.shape), strict=True):
        for first in range(0, len(plane), _ROWS):
            rows = slice(first, first + _ROWS)
            wide = plane[rows] * step
            wide += half
            np.copyto(target[rows], wide, casting="unsafe")
        if invalid.any():
            np.copyto(target, NODATA, where=invalid)
    return rounded


def rgb(color: str) -> tuple[int, int, int]:
    """Parse ``"#rrggbb"`` into three numbers from 0 to 255."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue
