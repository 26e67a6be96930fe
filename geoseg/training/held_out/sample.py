"""Sample the logits of held-out pixels, from every chip and view that reaches them.

The sample is drawn from whole tiles, spread evenly over the regions, so that its pixels can be blended as
those of a map are. Its size is bounded by inferences, pixels and bytes.
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
from geoseg.inference.backends.torch_ import TorchBackend
from geoseg.inference.backends.tta import SYMMETRIES, each_view
from geoseg.inference.reading import Normalisation
from geoseg.models.model import Model
from geoseg.models.networks import size_divisor
from geoseg.training.ground.folds import Region, cut
from geoseg.training.ground.labelled_scene import LabelCells, LabelledScene
from geoseg.training.held_out.maps import held_out_settings
from geoseg.training.held_out.temperature import ChipLogits, LogitSample

TILE = 1024
"""Side of the tiles that are sampled, in pixels."""
MOST_INFERENCES = 512
MOST_PIXELS = 1_000_000
MOST_BYTES = 256 * 2**20
"""Bound on the size of all logits of a sample."""
_CHIPS_A_PIXEL = 4
_GOLDEN = 0.6180339887498949


def draw_sample(
    model: Model,
    scenes: Sequence[LabelledScene],
    cells: Sequence[LabelCells],
    regions: Sequence[Region],
    tta: str,
    *,
    device: str,
    seed: int,
    share: float = 1.0,
) -> LogitSample:
    """Sample logits of held-out regions, from the inferences that ``predict`` would run.

    Args:
        model: The model.
        scenes: The scenes.
        cells: Counts of all labels, by scene.
        regions: Regions that the model was not trained on.
        tta: The test-time augmentation to fit a temperature for.
        device: The device to compute on.
        seed: Seed of the draw.
        share: Share of the bounds of a sample that this one may use.
    """
    settings = held_out_settings(model, device, tta)
    backend = TorchBackend(
        model.network,
        device=settings.device,
        precision=settings.precision,
        batch_size=settings.batch_size,
        divisor=size_divisor(model.network),
    )
    sampler = LogitSampler(
        tuple(scenes),
        tuple(cells),
        Normalisation.of(model.card.bands),
        len(model.card.classes),
        settings.chip_size,
        settings.overlap,
        seed,
        share,
    )
    return sampler.draw(backend, regions, tta)


class LogitsBackend(Backend, Protocol):
    """A backend that gives logits too."""

    def logits(self, chips: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run one inference; float32 (batch_size, classes, chip_size, chip_size)."""


@dataclass(frozen=True)
class LogitSampler:
    """Draws samples of logits.

    Attributes:
        scenes: The scenes.
        cells: Counts of all labels, by scene.
        normalisation: The model's normalisation.
        classes: Number of classes.
        chip_size: The model's chip size.
        overlap: The model's overlap.
        seed: Seed of the draw.
        share: Share of the bounds that this sample may use, where several are joined.
    """

    scenes: Sequence[LabelledScene]
    cells: Sequence[LabelCells]
    normalisation: Normalisation
    classes: int
    chip_size: int
    overlap: int
    seed: int
    share: float = 1.0

    def draw(self, backend: LogitsBackend, regions: Sequence[Region], tta: str = "none") -> LogitSample:
        """Draw pixels of some regions and run every chip that reaches them.

        Args:
            backend: Runs the network.
            regions: Regions that the network was not trained on.
            tta: Test-time augmentation whose views are kept, a key of ``SYMMETRIES``.

        Returns:
            At most ``MOST_PIXELS`` labelled pixels, from at most ``MOST_INFERENCES`` inferences, or those of
            one tile if it needs more.

        Raises:
            RunError: If a file cannot be read.
        """
        tiles = self._choose(regions, len(SYMMETRIES[tta]))
        labels = [self._labels(tile) for tile in tiles]
        most = self._most_pixels(len(SYMMETRIES[tta]))
        drawn_share = most / max(1, sum(int((one != IGNORE).sum()) for one in labels))
        rng = np.random.default_rng(self.seed)
        kept: list[NDArray[np.uint8]] = []
        logits: list[ChipLogits] = []
        start = 0
        workers = ThreadPoolExecutor(backend.concurrency, initializer=backend.prepare_thread)
        with workers:
            for tile, truth in zip(tiles, labels, strict=True):
                if drawn_share < 1:
                    truth[rng.random(truth.shape) >= drawn_share] = IGNORE
                truth[~self.scenes[tile.region.scene].image.read(tile.window)[1]] = IGNORE
                numbers = np.full(truth.shape, -1, np.intp)
                count = int((truth != IGNORE).sum())
                numbers[truth != IGNORE] = np.arange(start, start + count)
                start += count
                kept.append(truth[truth != IGNORE])
                logits += self._run(tile, numbers, backend, tta, workers)
        return LogitSample(np.concatenate([np.zeros(0, np.uint8), *kept]), self.classes, tuple(logits))

    def _most_pixels(self, views: int) -> int:
        by_memory = MOST_BYTES // (views * self.classes * 4 * _CHIPS_A_PIXEL)
        return max(1, round(self.share * min(MOST_PIXELS, by_memory)))

    def _choose(self, regions: Sequence[Region], views: int) -> list[_Tile]:
        """Choose tiles spread evenly, as many as the bound on inferences allows; at least one."""
        tiles = [tile for region in regions for tile in self._cut(region)]
        order = np.argsort(np.arange(len(tiles)) * _GOLDEN % 1)
        left = self.share * MOST_INFERENCES / views
        chosen: list[int] = []
        for number in order:
            left -= len(tiles[number].chips)
            if chosen and left < 0:
                break
            chosen.append(int(number))
        return [tiles[number] for number in sorted(chosen)]

    def _cut(self, region: Region) -> Iterator[_Tile]:
        shape = self.scenes[region.scene].shape
        grid = Grid(shape, self.chip_size, self.overlap)
        inside = region.window.intersection(Window.from_shape(shape))
        for part in cut(inside.shape, TILE) if inside else ():
            window = Window(region.window.row + part.row, region.window.col + part.col, *part.shape)
            if self.cells[region.scene].around(window):
                blocks = grid.blocks(max(shape) + grid.chip_size, window)
                chips = (chip for block in blocks for chip in grid.chips(block))
                yield _Tile(region, window, tuple(c for c in chips if c.window.intersection(window)))

    def _labels(self, tile: _Tile) -> NDArray[np.uint8]:
        labels = self.scenes[tile.region.scene].read_labels(tile.window)
        labels[~tile.region.mask(tile.window)] = IGNORE
        return labels

    def _run(
        self,
        tile: _Tile,
        numbers: NDArray[np.intp],
        backend: LogitsBackend,
        tta: str,
        workers: ThreadPoolExecutor,
    ) -> Iterator[ChipLogits]:
        """Run the chips that reach sampled pixels of a tile.

        Args:
            tile: The tile.
            numbers: intp (rows, columns): number of each sampled pixel, -1 elsewhere.
            backend: Runs the network.
            tta: Test-time augmentation whose views are kept.
            workers: Threads of the backend.
        """
        sampled = [_SampledPixels.of(chip, tile, numbers) for chip in tile.chips]
        sampled = [part for part in sampled if part.pixels.size]
        size = backend.batch_size
        grid = Grid(self.scenes[tile.region.scene].shape, self.chip_size, self.overlap)

        def run(batch: list[_SampledPixels]) -> list[ChipLogits]:
            chips = np.zeros((size, self.normalisation.means.size, *[self.chip_size] * 2), np.float32)
            for slot, part in zip(chips, batch, strict=False):
                self._read(tile, part.chip, slot)
            views = [
                [part.pick(answer) for part, answer in zip(batch, view, strict=False)]
                for view in each_view(backend.logits, chips, tta)
            ]
            return [
                ChipLogits(part.pixels, part.pick(grid.weights(part.chip)), np.stack(answers))
                for part, answers in zip(batch, zip(*views, strict=True), strict=True)
            ]

        for logits in workers.map(run, [sampled[i : i + size] for i in range(0, len(sampled), size)]):
            yield from logits

    def _read(self, tile: _Tile, chip: Chip, slot: NDArray[np.float32]) -> None:
        """Fill in a chip's normalised values; beyond the scene it stays 0."""
        scene = self.scenes[tile.region.scene]
        inside = chip.window.intersection(Window.from_shape(scene.shape))
        assert inside is not None  # chips of the grid touch their scene
        values, valid = scene.image.read(inside)
        slot[(slice(None), *inside.slices(chip.window))] = self.normalisation.apply(values, valid)


@dataclass(frozen=True)
class _Tile:
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
class _SampledPixels:
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
    def of(cls, chip: Chip, tile: _Tile, numbers: NDArray[np.intp]) -> _SampledPixels:
        common = chip.window.intersection(tile.window)
        assert common is not None  # a tile knows only chips that reach it
        here = numbers[common.slices(tile.window)]
        rows, cols = np.nonzero(here >= 0)
        below, right = common.row - chip.window.row, common.col - chip.window.col
        return cls(chip, here[rows, cols], rows + below, cols + right)

    def pick(self, values: NDArray[Any]) -> NDArray[Any]:
        """Take the pixels' values of a chip: (..., rows, columns) to (..., pixels)."""
        return values[..., self.rows, self.cols]
