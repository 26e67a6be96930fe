"""Several maps scored as one: the scenes of a training run, each on its own grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoseg.assess.bootstrap import BlockSums
from geoseg.assess.classmap import ClassMap, Readable
from geoseg.assess.compare import IDS, Counts
from geoseg.assess.examples import Example, Painter, choose, draw_example
from geoseg.classes import LandClass


@dataclass(frozen=True)
class Compared:
    """One map that was compared with its labels.

    Attributes:
        name: What it is called.
        class_map: The map.
        labels: The labels.
        counts: What was counted.
        painter: Draws its scene; None leaves images out.
    """

    name: str
    class_map: ClassMap
    labels: Readable
    counts: Counts
    painter: Painter | None = None


def add_up(parts: Sequence[Compared]) -> tuple[Counts, float | None]:
    """The counts of all maps together.

    Args:
        parts: At least one; blocks of one size, boundaries of the same tolerances.

    Returns:
        The counts (example chips left out), and the hectares of a unit of the mapped areas, None unless all
        maps have a CRS.
    """
    first = parts[0].counts
    total = Counts(BlockSums(first.sums.size, first.sums.width), np.zeros_like(first.boundary))
    sizes = [part.class_map.pixel_sizes() for part in parts]
    unit = max((pixel_sizes.area_unit for pixel_sizes in sizes if pixel_sizes is not None), default=None)
    if unit is not None and all(pixel_sizes is not None for pixel_sizes in sizes):
        total.mapped_area = np.zeros(IDS, np.int64)
    below = 0
    for part, pixel_sizes in zip(parts, sizes, strict=True):
        counts = part.counts
        total.sums.extend(counts.sums, below)
        below += -(-part.class_map.shape[0] // first.sums.size)
        total.boundary += counts.boundary
        total.mapped_pixels += counts.mapped_pixels
        total.labelled += counts.labelled
        if total.mapped_area is not None and counts.mapped_area is not None and pixel_sizes and unit:
            total.mapped_area += np.rint(counts.mapped_area * (pixel_sizes.area_unit / unit)).astype(np.int64)
    return total, unit if total.mapped_area is not None else None


def examples_of(parts: Sequence[Compared], classes: Sequence[LandClass]) -> list[Example]:
    """Chips of all maps, chosen by their rank among all; a title names its map if there are several."""
    chips = {
        (number, *place): tally
        for number, part in enumerate(parts)
        for place, tally in part.counts.chips.items()
    }
    drawn = []
    for title, (number, row, col), accuracy in choose(chips):
        part = parts[number]
        drawn.append(
            draw_example(
                title if len(parts) == 1 else f"{title}, {part.name}",
                (row, col),
                accuracy,
                part.class_map,
                part.labels,
                classes,
                part.class_map.shape,
                part.painter,
            )
        )
    return drawn
