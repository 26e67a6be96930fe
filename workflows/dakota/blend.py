"""Predict held-out blocks chip by chip and blend the probabilities, much as `geoseg predict` does.

Chips lie on one regular grid anchored at the scene's origin; a separable sin^2 ramp inside the overlap
and 1 elsewhere weighs them, so the weights sum to 1 at every pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from dakota import NODATA, Scene, normalise, read_window
from numpy.typing import NDArray


@dataclass(frozen=True)
class ChipLogits:
    """What the network says about one chip; kept to blend again with another temperature.

    Attributes:
        row: index of the chip's row in the grid of chips.
        col: index of its column.
        logits: (views, classes, size, size) float16; one view, or eight with d4 augmentation.
    """

    row: int
    col: int
    logits: NDArray[np.float16]


@dataclass(frozen=True)
class ChipGrid:
    """Chips of `size` with `overlap` over a raster of (rows, columns) pixels."""

    shape: tuple[int, int]
    size: int
    overlap: int

    @property
    def step(self) -> int:
        """Distance between neighbouring chips in pixels."""
        return self.size - self.overlap

    @property
    def counts(self) -> tuple[int, int]:
        """Number of chips down and across."""
        rows, cols = (max(1, -(-(n - self.overlap) // self.step)) for n in self.shape)
        return rows, cols

    def weights(self, index: int, axis: int) -> NDArray[np.float32]:
        """Blending weights (size,) of the chips at `index` along `axis` (0 down, 1 across)."""
        ramp = np.sin((np.arange(self.overlap) + 0.5) * (np.pi / (2 * max(self.overlap, 1)))) ** 2
        weights = np.ones(self.size)
        if index > 0:
            weights[: self.overlap] = ramp
        if index < self.counts[axis] - 1:
            weights[self.size - self.overlap :] = ramp[::-1]
        return weights.astype(np.float32)


Forward = Callable[[torch.Tensor], torch.Tensor]


def views(count: int) -> list[tuple[int, bool]]:
    """The first `count` of the eight turns and mirrorings of a square, as (quarter turns, mirrored)."""
    return [(turn, flip) for flip in (False, True) for turn in range(4)][:count]


def chip_logits(
    forward: Forward,
    scene: Scene,
    wanted: NDArray[np.bool_],
    grid: ChipGrid,
    mean: list[float],
    std: list[float],
    view_count: int = 1,
) -> Iterator[ChipLogits]:
    """Run the network on every chip that holds a wanted pixel (rows, columns) of the scene."""
    for row in range(grid.counts[0]):
        for col in range(grid.counts[1]):
            window = (row * grid.step, col * grid.step, grid.size, grid.size)
            if not read_window(wanted, *window, 0).any():
                continue
            image = normalise(read_window(scene.image, *window, NODATA), mean, std)
            chip = torch.from_numpy(image)[None]
            yield ChipLogits(row, col, np.stack([_view(forward, chip, *v) for v in views(view_count)]))


def _view(forward: Forward, chip: torch.Tensor, turn: int, flip: bool) -> NDArray[np.float16]:
    turned = torch.rot90(chip.flip(3) if flip else chip, turn, dims=(2, 3))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = forward(turned.contiguous(memory_format=torch.channels_last)).float()
    back = torch.rot90(logits, -turn, dims=(2, 3))
    return (back.flip(3) if flip else back)[0].half().numpy()


def blend(
    chips: Iterable[ChipLogits],
    grid: ChipGrid,
    wanted: NDArray[np.bool_],
    class_count: int,
    temperature: float = 1.0,
) -> NDArray[np.float32]:
    """Blended probabilities (pixels, classes) of the wanted pixels (rows, columns), in row order."""
    order = np.full(wanted.shape, -1, dtype=np.int32)
    order[wanted] = np.arange(np.count_nonzero(wanted), dtype=np.int32)
    total = np.zeros((np.count_nonzero(wanted), class_count), dtype=np.float32)
    for chip in chips:
        pixels = read_window(order, chip.row * grid.step, chip.col * grid.step, grid.size, grid.size, -1)
        inside = pixels >= 0
        scaled = torch.from_numpy(chip.logits).float() / temperature
        probabilities = scaled.softmax(dim=1).mean(dim=0).numpy()
        weights = grid.weights(chip.row, 0)[:, None] * grid.weights(chip.col, 1)[None, :]
        total[pixels[inside]] += (probabilities[:, inside] * weights[inside]).T
    return total
