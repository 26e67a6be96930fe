"""Compare class maps with labels: everything that reports need is counted in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.assess.bootstrap import BlockSums
from geoseg.assess.boundary import Tolerance, boundary_counts
from geoseg.assess.calibration import BINS, bin_sums
from geoseg.classes import IGNORE, NODATA
from geoseg.grid import Window, tiles
from geoseg.maps.class_map_file import ClassMapFile
from geoseg.progress import Bar, Silent
from geoseg.raster.pixel_sizes import PixelSizes

WINDOW = 1024
"""Side of the windows that are read, in pixels; never changes the counts."""
CHIP = 256
"""Side of the example chips in pixels."""
IDS = 256
JOINT = IDS * IDS
WIDTH = JOINT + 3 * BINS


class Readable(Protocol):
    """A raster of class ids."""

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read class ids in a window."""


@dataclass
class Counts:
    """Counts of a comparison: whole numbers, which do not depend on the order of windows.

    Attributes:
        sums: For each bootstrap block, pixels by label and map class (256 x 256), then ``bin_sums``.
        boundary: int64 (tolerances, 4, 256), see ``boundary_counts``.
        chips: (row, column) of an example chip on its lattice -> compared pixels, wrong ones.
        mapped_pixels: Pixels of each class id in the whole map, int64 (256,).
        mapped_area: The same in units of ``PixelSizes.area_unit``; None without a CRS.
        labelled: Pixels with a label.
    """

    sums: BlockSums
    boundary: NDArray[np.int64]
    chips: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    mapped_pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(IDS, np.int64))
    mapped_area: NDArray[np.int64] | None = None
    labelled: int = 0

    def confusion(self) -> NDArray[np.int64]:
        """Return the confusion matrix: pixels by label (row) and map class (column), int64 (256, 256)."""
        return self.sums.total()[:JOINT].reshape(IDS, IDS)

    def calibration(self) -> NDArray[np.int64]:
        """Return ``bin_sums`` of all compared pixels, int64 (3, bins)."""
        return self.sums.total()[JOINT:].reshape(3, BINS)


@dataclass(frozen=True)
class ComparedMap:
    """A map, its labels, and the counts of comparing them.

    Attributes:
        name: Name of the map, for titles.
        class_map: The map.
        labels: The labels.
        counts: The counts.
    """

    name: str
    class_map: ClassMapFile
    labels: Readable
    counts: Counts


def compare(
    class_map: ClassMapFile,
    labels: Readable,
    *,
    block: int,
    tolerances: tuple[Tolerance, ...] = (),
    window_size: int = WINDOW,
    bar: Bar | None = None,
) -> Counts:
    """Compare a class map with labels on its grid.

    Args:
        class_map: The map.
        labels: The labels.
        block: Side of the bootstrap's blocks in pixels, on a lattice anchored at the map's origin.
        tolerances: Tolerances of the boundary counts.
        window_size: Side of the windows that are read, in pixels.
        bar: Shows how far it is, in megapixels.

    Returns:
        The counts, the same for every ``window_size``.

    Raises:
        SceneError: If a file holds a value that is not a class.
        RunError: If a file cannot be read.
    """
    bar = bar or Silent()
    pixel_sizes = class_map.pixel_sizes()
    counts = Counts(BlockSums(block, WIDTH), np.zeros((len(tolerances), 4, IDS), np.int64))
    if pixel_sizes is not None:
        counts.mapped_area = np.zeros(IDS, np.int64)
    reach = max((tolerance.reach for tolerance in tolerances), default=0)
    for window in tiles(class_map.shape, window_size):
        _count(counts, class_map, labels, pixel_sizes, window, tolerances, reach)
        bar.advance(window.pixels / 1e6)
    return counts


def add_up(parts: Sequence[ComparedMap]) -> tuple[Counts, float | None]:
    """Add the counts of several maps, each on its own grid, to score them as one.

    Args:
        parts: At least one map; all with blocks of one size and the same tolerances.

    Returns:
        The counts without example chips, and the hectares of one unit of the mapped areas; None unless all
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


def pieces(window: Window, size: int) -> Iterator[tuple[tuple[int, int], tuple[slice, slice]]]:
    """Cut a window at the lines of a lattice: (row, column) of each block, and its slices in the window."""
    for i in range(window.row // size, (window.row_stop - 1) // size + 1):
        for j in range(window.col // size, (window.col_stop - 1) // size + 1):
            common = Window(i * size, j * size, size, size).intersection(window)
            assert common is not None  # the ranges hold only blocks that touch
            yield (i, j), common.slices(window)


def _count(
    counts: Counts,
    class_map: ClassMapFile,
    labels: Readable,
    pixel_sizes: PixelSizes | None,
    core: Window,
    tolerances: tuple[Tolerance, ...],
    reach: int,
) -> None:
    wide = core.grown(reach, class_map.shape)
    inside = core.slices(wide)
    truth, shown = labels.read(wide), class_map.read(wide)
    _count_map(counts, shown[inside], pixel_sizes, core)
    known = (truth[inside] != IGNORE) & (shown[inside] != NODATA)
    counts.labelled += int(np.count_nonzero(truth[inside] != IGNORE))
    if not known.any():
        return
    confidence = class_map.read_confidence(core) if class_map.confidence is not None else None
    _count_blocks(counts.sums, core, truth[inside], shown[inside], known, confidence)
    wrong = known & (truth[inside] != shown[inside])
    for chip, part in pieces(core, CHIP):
        tally = counts.chips.setdefault(chip, [0, 0])
        tally[0] += int(np.count_nonzero(known[part]))
        tally[1] += int(np.count_nonzero(wrong[part]))
    if tolerances:
        counts.boundary += boundary_counts(truth, shown, inside, tolerances, IDS)


def _count_map(
    counts: Counts, shown: NDArray[np.uint8], pixel_sizes: PixelSizes | None, core: Window
) -> None:
    counts.mapped_pixels += np.bincount(shown.ravel(), minlength=IDS)
    if pixel_sizes is not None and counts.mapped_area is not None and (shown != NODATA).any():
        areas = pixel_sizes.pixel_areas(core.row, core.col, *core.shape)
        counts.mapped_area += np.bincount(shown.ravel(), areas.ravel(), IDS).astype(np.int64)


def _count_blocks(
    sums: BlockSums,
    core: Window,
    truth: NDArray[np.uint8],
    shown: NDArray[np.uint8],
    known: NDArray[np.bool_],
    confidence: NDArray[np.uint8] | None,
) -> None:
    joint = truth.astype(np.int32) * IDS + shown
    for block, part in pieces(core, sums.size):
        here = known[part]
        if not here.any():
            continue
        found = np.zeros(WIDTH, np.int64)
        found[:JOINT] = np.bincount(joint[part][here], minlength=JOINT)
        if confidence is not None:
            has_confidence = here & (confidence[part] != NODATA)
            correct = truth[part][has_confidence] == shown[part][has_confidence]
            found[JOINT:] = bin_sums(confidence[part][has_confidence], correct).ravel()
        sums.add(block, found)
