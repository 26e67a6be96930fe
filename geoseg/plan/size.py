"""The size of a run: what its memory, scratch space and time depend on, apart from what can be chosen.

Time is counted in core seconds. The network's share is measured on the machine at hand (``plan.measure``).
The rest is of one core of an AMD EPYC of 2024, and within a factor of two of other machines; it is a tenth of
the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg.inference.compute import reading_ahead
from geoseg.plan.prepare import Prepared

MEGA = 1e6


@dataclass(frozen=True)
class RunSize:
    """The size of a run.

    Attributes:
        pixels: Pixels to be mapped.
        width: Columns to be mapped.
        chips: Chips that cover them.
        chip: Side of a chip.
        overlap: Pixels that chips share.
        batch: Chips an inference.
        bands: Bands read.
        itemsize: Bytes of a stored value.
        classes: Classes of the network.
        maps: Bytes a pixel of all maps that are made.
        streamed: Bytes a pixel of the maps that are compressed while they are made.
        polygons: Whether polygons are made.
        traces: Whether this process traces them.
        traced: Rasters that are traced with the class map while blocks come; 0 if none is.
        ahead: Blocks that are read ahead of the one that is computed.
        strip: Pixels of the strips that are read at once, for each of their columns.
    """

    pixels: int
    width: int
    chips: int
    chip: int
    overlap: int
    batch: int
    bands: int
    itemsize: int
    classes: int
    maps: int
    streamed: int
    polygons: bool = False
    traces: bool = False
    traced: int = 0
    ahead: int = 1
    strip: int = 1024

    @property
    def megapixels(self) -> float:
        """Millions of pixels mapped."""
        return self.pixels / MEGA

    @property
    def computed(self) -> float:
        """Millions of pixels that go through the network."""
        return self.chips * self.chip**2 / MEGA


def run_size(prepared: Prepared) -> RunSize:
    """Measure a prepared run."""
    settings, outputs, window = prepared.settings, prepared.outputs, prepared.window
    polygons = outputs.polygons is not None
    traces = polygons and not prepared.workers.are_elsewhere  # workers trace nothing
    written = output_bytes(prepared)
    all_are_read = polygons or settings.refine is not None
    ahead, strips = reading_ahead(settings.device, settings.concurrency)
    return RunSize(
        pixels=window.pixels,
        width=window.width,
        chips=prepared.grid.count_chips(window),
        chip=settings.chip_size,
        overlap=settings.overlap,
        batch=settings.batch_size,
        bands=len(settings.bands),
        itemsize=max((np.dtype(band.dtype).itemsize for band in prepared.scene.bands), default=4),
        classes=len(prepared.model.card.classes),
        maps=2 + len(prepared.model.card.classes) if all_are_read else written,
        streamed=0 if settings.refine is not None else written,
        polygons=polygons,
        traces=traces,
        traced=traced_bands(prepared) if traces and settings.refine is None else 0,
        ahead=ahead,
        strip=prepared.scene.strip_rows * strips,
    )


def traced_bands(prepared: Prepared) -> int:
    """Count the rasters traced with the class map: confidence, probabilities, what statistics read."""
    zonal = prepared.zonal
    return 1 + len(prepared.model.card.classes) + (0 if zonal is None else 3 * len(zonal.measures))


def output_bytes(prepared: Prepared) -> int:
    """Count the bytes a pixel of the maps that were asked for."""
    counts = {"classes": 1, "confidence": 1, "probabilities": len(prepared.model.card.classes)}
    return sum(counts[name] for name in prepared.outputs.rasters)


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
