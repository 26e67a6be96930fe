"""How the ground that validates is cut into chips, so that every pixel of it is scored once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import IGNORE
from geoseg.grid import Window
from geoseg.training.ground.folds import Split
from geoseg.training.ground.ground import grow
from geoseg.training.ground.regions import Region


def tiles(
    region: Region, split: Split, shape: tuple[int, int], chip_size: int
) -> list[tuple[Window, Window]]:
    """Cut a validation region into chips.

    Args:
        region: The region.
        split: For its buffer: the context that a validation chip may read.
        shape: Of the scene.
        chip_size: Side of a chip.

    Returns:
        (chip, core) pairs: the chip's window, which may reach beyond the scene, and the part of it that
        is scored. The cores tile the region's window.
    """
    margin = min(split.buffers[region.scene], chip_size // 8)
    inner = chip_size - 2 * margin
    window = grow(region.window, 0, shape)
    pairs = []
    for row in range(window.row, window.row_stop, inner):
        for col in range(window.col, window.col_stop, inner):
            core = Window(row, col, inner, inner).intersection(window)
            if core is not None:
                pairs.append((Window(row - margin, col - margin, chip_size, chip_size), core))
    return pairs


def keep(labels: NDArray[np.uint8], window: Window, core: Window, region: Region) -> NDArray[np.uint8]:
    """The labels of a chip that are scored: those in its core that belong to the region."""
    kept = np.full_like(labels, IGNORE)
    inside = core.slices(window)
    own = region.mask(core)
    kept[inside] = np.where(own, labels[inside], IGNORE)
    return kept
