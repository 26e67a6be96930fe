"""How long a run takes: core seconds a megapixel, from which plans are worked out.

The network's share is measured on the machine at hand (``plan.measure``). The rest is of one core of an AMD
EPYC of 2024, and within a factor of two of other machines; it is a tenth of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.plan.size import RunSize


@dataclass(frozen=True)
class Rates:
    """Core seconds.

    Attributes:
        start: Of a run, apart from the network's runtime: start of Python, opening, checking, publishing.
        read: Of a megapixel and band: decoding, scaling, normalising.
        stitch: Of a megapixel that was computed and class: cutting chips, weighting, adding.
        decide: Of a megapixel and class: choosing the class, counting.
        write: Of a megapixel and map: compressing, overviews.
        polygons: Of a megapixel: tracing, measuring, writing them. Depends on the land.
    """

    start: float = 2.0
    read: float = 0.014
    stitch: float = 0.0045
    decide: float = 0.003
    write: float = 0.012
    polygons: float = 0.15


RATES = Rates()


def core_seconds(size: RunSize, inference: float, rates: Rates = RATES) -> dict[str, float]:
    """Estimate busy seconds of one core, by stage.

    Args:
        size: The run.
        inference: Core seconds of one chip through the network.
        rates: Of everything else.
    """
    return {
        "read": rates.read * size.bands * size.megapixels,
        "forward": inference * size.chips,
        "stitch": rates.stitch * size.classes * size.computed,
        "write": (rates.decide * size.classes + rates.write * size.maps) * size.megapixels,
        "polygons": rates.polygons * size.megapixels if size.polygons else 0.0,
    }


def wall_seconds(size: RunSize, inference: float, cores: int, rates: Rates = RATES) -> float:
    """Estimate seconds on so many cores: all overlaps but the start and the polygons."""
    busy = core_seconds(size, inference, rates)
    polygons = busy.pop("polygons")
    return rates.start + sum(busy.values()) / max(1, min(cores, size.chips)) + polygons
