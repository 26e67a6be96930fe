"""The size of a run: what its memory, scratch space and time depend on, apart from what can be chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg.inference.compute import blocks_ahead, readers_for
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
    return RunSize(
        pixels=window.pixels,
        width=window.width,
        chips=prepared.grid.count_chips(window),
        chip=settings.chip_size,
        overlap=settings.overlap,
        batch=settings.batch_size,
        bands=len(settings.bands),
        itemsize=max((np.dtype(band.dtype).itemsize for band in prepared.scene.bands), default=4),
        classes=len(prepared.model.classes),
        maps=2 + len(prepared.model.classes) if all_are_read else written,
        streamed=0 if settings.refine is not None else written,
        polygons=polygons,
        traces=traces,
        traced=traced_bands(prepared) if traces and settings.refine is None else 0,
        ahead=blocks_ahead(settings.device),
        strip=prepared.scene.strip_rows * readers_for(settings.device, settings.concurrency),
    )


def traced_bands(prepared: Prepared) -> int:
    """Count the rasters traced with the class map: confidence, probabilities, what statistics read."""
    zonal = prepared.zonal
    return 1 + len(prepared.model.classes) + (0 if zonal is None else 3 * len(zonal.measures))


def output_bytes(prepared: Prepared) -> int:
    """Count the bytes a pixel of the maps that were asked for."""
    counts = {"classes": 1, "confidence": 1, "probabilities": len(prepared.model.classes)}
    return sum(counts[name] for name in prepared.outputs.rasters)
