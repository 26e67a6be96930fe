"""Logits of a sample of held-out pixels, from every chip and view that reaches them.

The sample is drawn from whole pieces of ground, spread evenly over all of it, so that pixels are blended as
they will be, and its size is bounded: by forwards, by pixels and by bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import IGNORE
from geoseg.grid import Chip, Grid, Window
from geoseg.inference.backends.protocol import Backend
from geoseg.inference.backends.tta import SYMMETRIES, each_view
from geoseg.inference.reading import Normalisation
from geoseg.training.ground.folds import cut
from geoseg.training.ground.ground import Ground, LabelCells
from geoseg.training.ground.regions import Region
from geoseg.training.held_out.calibrate import ChipShare, Sample

PIECE = 1024
"""Side of the pieces of ground that are sampled, in pixels."""
MOST_FORWARDS = 512
MOST_PIXELS = 1_000_000
MOST_BYTES = 256 * 2**20
"""All logits of a sample together stay below this."""
_CHIPS_A_PIXEL = 4
_GOLDEN = 0.6180339887498949


class LogitsBackend(Backend, Protocol):
    """A backend that gives logits too."""

    def logits(self, chips: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run one forward; float32 (batch_size, classes, chip_size, chip_size)."""


@dataclass(frozen=True)
class _Piece:
    """A part of a region.

    Attributes:
        region: The region.
        window: The part.
        chips: The chips that reach it.
    """

    region: Region
    window: Window
    chips: tuple[Chip, ...]


@dataclass(frozen=True)
class Sampler:
    """Draws samples.

    Attributes:
        grounds: The scenes.
        cells: All labels, counted, by scene.
        normalisation: The model's.
        classes: Number of classes.
        chip_size: The model's.
        overlap: The model's.
        seed: Decides which pixels are drawn.
        share: How much of the bounds this sample may take, where several are joined.
    """

    grounds: Sequence[Ground]
    cells: Sequence[LabelCells]
    normalisation: Normalisation
    classes: int
    chip_size: int
    overlap: int
    seed: int
    share: float = 1.0

    def draw(self, backend: LogitsBackend, regions: Sequence[Region], tta: str = "none") -> Sample:
        """Draw pixels of some regions and run every chip that reaches them.

        Args:
            backend: Runs the network.
            regions: Ground that the network was not trained on.
            tta: Whose views to keep, a key of ``SYMMETRIES``.

        Returns:
            At most ``MOST_PIXELS`` labelled pixels, from at most ``MOST_FORWARDS`` forwards if one piece of
            ground does not need more.

        Raises:
            RunError: If a file cannot be read.
        """
        pieces = self._choose(regions, len(SYMMETRIES[tta]))
        labels = [self._labels(piece) for piece in pieces]
        most = self._most_pixels(len(SYMMETRIES[tta]))
        drawn_share = most / max(1, sum(int((one != IGNORE).sum()) for one in labels))
        rng = np.random.default_rng(self.seed)
        kept: list[NDArray[np.uint8]] = []
        shares: list[ChipShare] = []
        start = 0
        workers = ThreadPoolExecutor(backend.forwards, initializer=backend.prepare_thread)
        with workers:
            for piece, truth in zip(pieces, labels, strict=True):
                if drawn_share < 1:
                    truth[rng.random(truth.shape) >= drawn_share] = IGNORE
                truth[~self.grounds[piece.region.scene].scene.read(piece.window)[1]] = IGNORE
                numbers = np.full(truth.shape, -1, np.intp)
                count = int((truth != IGNORE).sum())
                numbers[truth != IGNORE] = np.arange(start, start + count)
                start += count
                kept.append(truth[truth != IGNORE])
                shares += self._run(piece, numbers, backend, tta, workers)
        return Sample(np.concatenate([np.zeros(0, np.uint8), *kept]), self.classes, tuple(shares))

    def _most_pixels(self, views: int) -> int:
        by_memory = MOST_BYTES // (views * self.classes * 4 * _CHIPS_A_PIXEL)
        return max(1, round(self.share * min(MOST_PIXELS, by_memory)))

    def _choose(self, regions: Sequence[Region], views: int) -> list[_Piece]:
        """Pieces in an order that spreads evenly, as many as the bound on forwards allows; at least one."""
        pieces = [piece for region in regions for piece in self._cut(region)]
        order = np.argsort(np.arange(len(pieces)) * _GOLDEN % 1)
        left = self.share * MOST_FORWARDS / views
        chosen: list[int] = []
        for number in order:
            left -= len(pieces[number].chips)
            if chosen and left < 0:
                break
            chosen.append(int(number))
        return [pieces[number] for number in sorted(chosen)]

    def _cut(self, region: Region) -> Iterator[_Piece]:
        shape = self.grounds[region.scene].shape
        grid = Grid(shape, self.chip_size, self.overlap)
        inside = region.window.intersection(Window.from_shape(shape))
        for part in cut(inside.shape, PIECE) if inside else ():
            window = Window(region.window.row + part.row, region.window.col + part.col, *part.shape)
            if self.cells[region.scene].around(window):
                blocks = grid.blocks(max(shape) + grid.chip_size, window)
                chips = (chip for block in blocks for chip in grid.chips(block))
                yield _Piece(region, window, tuple(c for c in chips if c.window.intersection(window)))

    def _labels(self, piece: _Piece) -> NDArray[np.uint8]:
        labels = self.grounds[piece.region.scene].read_labels(piece.window)
        labels[~piece.region.mask(piece.window)] = IGNORE
        return labels

    def _run(
        self,
        piece: _Piece,
        numbers: NDArray[np.intp],
        backend: LogitsBackend,
        tta: str,
        workers: ThreadPoolExecutor,
    ) -> Iterator[ChipShare]:
        """Every chip's share in a piece.

        Args:
            piece: The piece.
            numbers: intp (rows, columns): number of each sampled pixel, -1 elsewhere.
            backend: Runs the network.
            tta: Whose views to keep.
            workers: Threads of the backend.
        """
        spots = [_Spot.of(chip, piece, numbers) for chip in piece.chips]
        spots = [spot for spot in spots if spot.pixels.size]
        size = backend.batch_size
        grid = Grid(self.grounds[piece.region.scene].shape, self.chip_size, self.overlap)

        def run(batch: list[_Spot]) -> list[ChipShare]:
            chips = np.zeros((size, self.normalisation.means.size, *[self.chip_size] * 2), np.float32)
            for slot, spot in zip(chips, batch, strict=False):
                self._read(piece, spot.chip, slot)
            views = [
                [spot.pick(answer) for spot, answer in zip(batch, view, strict=False)]
                for view in each_view(backend.logits, chips, tta)
            ]
            return [
                ChipShare(spot.pixels, spot.pick(grid.weights(spot.chip)), np.stack(answers))
                for spot, answers in zip(batch, zip(*views, strict=True), strict=True)
            ]

        for shares in workers.map(run, [spots[i : i + size] for i in range(0, len(spots), size)]):
            yield from shares

    def _read(self, piece: _Piece, chip: Chip, slot: NDArray[np.float32]) -> None:
        """Fill in a chip's normalised values; beyond the scene it stays 0."""
        ground = self.grounds[piece.region.scene]
        inside = chip.window.intersection(Window.from_shape(ground.shape))
        assert inside is not None  # chips of the grid touch their scene
        values, valid = ground.scene.read(inside)
        slot[(slice(None), *inside.slices(chip.window))] = self.normalisation.apply(values, valid)


@dataclass(frozen=True)
class _Spot:
    """The sampled pixels that a chip reaches.

    Attributes:
        chip: The chip.
        pixels: intp (pixels,): their numbers.
        rows: intp (pixels,): their rows in the chip.
        cols: intp (pixels,): their columns in the chip.
    """

    chip: Chip
    pixels: NDArray[np.intp]
    rows: NDArray[np.intp]
    cols: NDArray[np.intp]

    @classmethod
    def of(cls, chip: Chip, piece: _Piece, numbers: NDArray[np.intp]) -> _Spot:
        common = chip.window.intersection(piece.window)
        assert common is not None  # a piece knows only chips that reach it
        here = numbers[common.slices(piece.window)]
        rows, cols = np.nonzero(here >= 0)
        below, right = common.row - chip.window.row, common.col - chip.window.col
        return cls(chip, here[rows, cols], rows + below, cols + right)

    def pick(self, values: NDArray[Any]) -> NDArray[Any]:
        """The pixels' values of a chip: (..., rows, columns) to (..., pixels)."""
        return values[..., self.rows, self.cols]
