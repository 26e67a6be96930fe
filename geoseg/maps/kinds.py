"""The three maps: what their pixels are, how they look, and how they are overviewed.

From blended sums to bytes all is whole-number arithmetic, so every run rounds alike. What only writing needs
is imported there: workers render maps and write none.
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
"""Rows rounded at once: they stay in the processor's cache."""


class MapKind(Protocol):
    """One kind of raster that a run can write."""

    @property
    def name(self) -> str:
        """What it is called in reports: ``"classes"``, ``"confidence"``, ``"probabilities"``."""

    @property
    def overviews(self) -> str:
        """GDAL's resampling for overviews."""

    @property
    def effort(self) -> int:
        """How hard to compress: a level of deflate, 1 to 9."""

    @property
    def descriptions(self) -> tuple[str, ...]:
        """Name of each band."""

    @property
    def scale(self) -> float:
        """Physical value of one step (TIFF scale tag)."""

    def render(self, decision: Decision) -> NDArray[np.uint8]:
        """Pixels of one window: uint8 (bands, rows, columns), 255 where not valid."""

    def palette(self) -> dict[int, tuple[int, int, int, int]] | None:
        """Colour of each pixel value as RGBA, or None."""

    def sidecar(self) -> str | None:
        """Content of the ``.aux.xml`` beside the raster, or None."""

    def style(self) -> str:
        """Content of the ``.qml`` beside the raster."""


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
        """Class ids."""
        ids = np.array([item.id for item in self.classes], np.uint8)
        return np.where(decision.valid, ids[decision.winner], np.uint8(NODATA))[None]

    def palette(self) -> dict[int, tuple[int, int, int, int]]:
        """The classes' colours; nodata is transparent."""
        return {item.id: (*rgb(item.color), 255) for item in self.classes} | {NODATA: (0, 0, 0, 0)}

    def sidecar(self) -> str:
        """Class names and attribute table."""
        from geoseg.maps.sidecar import class_table_xml

        return class_table_xml([(item.id, item.name, rgb(item.color)) for item in self.classes])

    def style(self) -> str:
        """A paletted renderer with names."""
        from geoseg.maps.qml import palette_qml

        return palette_qml([(item.id, item.name, item.color) for item in self.classes])


@dataclass(frozen=True)
class ConfidenceMap:
    """The blended probability of the class shown, in percent, rounded half up."""

    name: str = "confidence"
    overviews: str = "AVERAGE"
    effort: int = 1  # more effort hardly makes noise smaller
    descriptions: tuple[str, ...] = ("confidence",)
    scale: float = 1 / CONFIDENCE_ONE

    def render(self, decision: Decision) -> NDArray[np.uint8]:
        """0 to 100 percent."""
        return to_bytes(decision.top, CONFIDENCE_ONE, decision.valid)[None]

    def palette(self) -> None:
        """None: values are a measure, not classes."""

    def sidecar(self) -> None:
        """None: the scale tag says it all."""

    def style(self) -> str:
        """A ramp from 0 to 100 percent."""
        from geoseg.maps.qml import ramp_qml

        return ramp_qml()


@dataclass(frozen=True)
class ProbabilityMap:
    """The blended probability of every class, one band a class by ascending id.

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
        """0 to 250 for 0 to 1."""
        assert decision.sums is not None  # who writes this map asks for the sums
        return to_bytes(decision.sums, PROBABILITY_BYTE_ONE, decision.valid)

    def palette(self) -> None:
        """None: values are a measure, not classes."""

    def sidecar(self) -> None:
        """None: band names and the scale tag say it all."""

    def style(self) -> str:
        """The first class's probability as a ramp."""
        from geoseg.maps.qml import ramp_qml

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
    # With 1/2 added, what is cut off to whole numbers is a multiple of 1 / (2 * SUM_ONE). Half of that more
    # keeps every value as far from being taken for its neighbour, and float64 errs by a thousandth of it.
    step, half = one / SUM_ONE, 0.5 + 0.25 / SUM_ONE
    planes = sums.reshape(-1, *valid.shape)
    for plane, target in zip(planes, rounded.reshape(planes.shape), strict=True):
        for first in range(0, len(plane), _ROWS):
            rows = slice(first, first + _ROWS)
            wide = plane[rows] * step
            wide += half
            np.copyto(target[rows], wide, casting="unsafe")
        np.copyto(target, NODATA, where=~valid)
    return rounded


def rgb(color: str) -> tuple[int, int, int]:
    """Read ``"#rrggbb"`` as three numbers of 0 to 255."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue
