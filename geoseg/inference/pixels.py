"""The pixels of a block on their way into the network: which chips are worth running, and cut as chips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Chip, Window


class PixelSource(Protocol):
    """What is needed of a scene: pixels in physical units and which of them are valid."""

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Values float32 (bands, rows, columns), NaN where nodata, and valid bool (rows, columns)."""


@dataclass(frozen=True)
class BlockPixels:
    """A block's network input.

    Attributes:
        block: The block; the arrays cover its ``reach``.
        values: float32 (bands, rows, columns), normalised, 0 where invalid.
        wanted: bool (rows, columns): pixels to be mapped.
    """

    block: Block
    values: NDArray[np.float32]
    wanted: NDArray[np.bool_]

    def wants(self, chip: Chip) -> bool:
        """Whether a chip holds a pixel to be mapped."""
        inside = chip.window.intersection(self.block.reach)
        return inside is not None and bool(self.wanted[inside.slices(self.block.reach)].any())

    def cut(self, chips: Sequence[Chip], batch_size: int, chip_size: int) -> NDArray[np.float32]:
        """Stack chips into one batch of the fixed shape; 0 beyond the scene and in missing chips.

        Returns:
            float32 (batch_size, bands, chip_size, chip_size).
        """
        batch = np.empty((batch_size, self.values.shape[0], chip_size, chip_size), np.float32)
        batch[len(chips) :] = 0
        for slot, chip in zip(batch, chips, strict=False):
            inside = chip.window.intersection(self.block.reach)
            if inside != chip.window:
                slot[...] = 0
            if inside is not None:
                source = (slice(None), *inside.slices(self.block.reach))
                slot[(slice(None), *inside.slices(chip.window))] = self.values[source]
        return batch
