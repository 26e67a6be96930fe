"""Example chips of a report: image, labels, map and errors, chosen by their rank of error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from geoseg.assess.compare import CHIP, ComparedMap
from geoseg.classes import IGNORE, NODATA, LandClass
from geoseg.grid import Window
from geoseg.scene.sample import sample_scene
from geoseg.scene.scene import Scene

Spot = TypeVar("Spot", bound=tuple[int, ...])
RANKS = (("best", 0.0), ("median", 0.5), ("upper quartile of error", 0.75), ("worst", 1.0))
"""Title of each chip that is shown, and its rank among well-labelled chips: 0 has the fewest errors."""
_ENOUGH = 0.75
"""A chip is well labelled if it has at least this share of the most labelled pixels of any chip."""
_RIGHT, _WRONG, _UNKNOWN = (226, 232, 226), (200, 30, 45), (255, 255, 255)
_GAMMA = 0.75
"""Below 1, so that dark fields can be told apart."""
_COMPOSITES = (("red", "green", "blue"), ("nir", "red", "green"))


@dataclass(frozen=True)
class Example:
    """One example chip.

    Attributes:
        title: Its rank, in words.
        window: Its pixels in the map.
        accuracy: Share of its compared pixels that are right.
        pictures: Caption -> PNG.
    """

    title: str
    window: Window
    accuracy: float
    pictures: Mapping[str, bytes]


@dataclass(frozen=True)
class ImageRenderer:
    """Renders windows of a scene as RGB.

    Attributes:
        scene: The scene with the bands to show.
        low: Value of each band that is shown black.
        high: Value of each band that is shown at full brightness.
        offset: Row and column of the map's first pixel in the scene.
    """

    scene: Scene
    low: tuple[float, ...]
    high: tuple[float, ...]
    offset: tuple[int, int]

    def render(self, window: Window) -> NDArray[np.uint8]:
        """Render a window of the map, uint8 (rows, columns, 3)."""
        row, col = self.offset
        values, valid = self.scene.read(
            Window(row + window.row, col + window.col, window.height, window.width)
        )
        low, high = (np.array(bound, np.float32)[:, None, None] for bound in (self.low, self.high))
        shares = np.nan_to_num((values - low) / np.maximum(high - low, 1e-12)).clip(0, 1)
        rgb = np.where(valid, np.rint(shares**_GAMMA * 255), 255).astype(np.uint8)
        return np.broadcast_to(rgb, (3, *window.shape)).transpose(1, 2, 0)


def make_renderer(scene: Scene, offset: tuple[int, int]) -> ImageRenderer:
    """Choose bands (natural colour, else infrared, else the first) and stretch (2nd to 98th percentile)."""
    numbers = {band.common_name: band.number for band in reversed(scene.bands) if band.common_name}
    chosen = next(([numbers[n] for n in c] for c in _COMPOSITES if set(c) <= numbers.keys()), None)
    if chosen is None:
        first = [band.number for band in scene.bands]
        chosen = first[:3] if len(first) >= 3 else first[:1]
    shown = scene.select(chosen)
    sample = sample_scene(shown)
    low, high = [], []
    for band, stored, missing in zip(shown.bands, sample.stored, sample.missing, strict=True):
        values = band.physical(stored[~missing])
        bounds = np.nanpercentile(values, [2, 98]) if values.size else np.array([0.0, 1.0])
        low.append(float(bounds[0]))
        high.append(float(bounds[1]))
    return ImageRenderer(shown, tuple(low), tuple(high), offset)


def choose(chips: Mapping[Spot, Sequence[int]]) -> list[tuple[str, Spot, float]]:
    """Choose example chips by their rank of error; of equal ones the first key wins.

    Args:
        chips: Sortable key of each chip -> compared pixels, wrong ones.

    Returns:
        Title, key and accuracy of each chosen chip, each chip once.
    """
    most = max((compared for compared, _ in chips.values()), default=0)
    ranked = sorted(
        (wrong / compared, place)
        for place, (compared, wrong) in chips.items()
        if compared and compared >= _ENOUGH * most
    )
    chosen: dict[Spot, tuple[str, float]] = {}
    for title, share in RANKS:
        if ranked:
            error, place = ranked[round(share * (len(ranked) - 1))]
            chosen.setdefault(place, (title, 1 - error))
    return [(title, place, accuracy) for place, (title, accuracy) in chosen.items()]


def draw_examples(
    maps: Sequence[ComparedMap], classes: Sequence[LandClass], renderers: Sequence[ImageRenderer | None]
) -> list[Example]:
    """Draw example chips, ranked over all maps together; titles name the map if there are several.

    Args:
        maps: The maps and their counts.
        classes: All classes, for their colours.
        renderers: Render the scene of each map; None leaves the image out.
    """
    colors = np.full((256, 3), 255, np.uint8)
    for item in classes:
        colors[item.id] = [int(item.color[i : i + 2], 16) for i in (1, 3, 5)]
    colors[NODATA] = _UNKNOWN
    chips = {
        (number, *place): tally
        for number, one in enumerate(maps)
        for place, tally in one.counts.chips.items()
    }
    examples = []
    for title, (number, row, col), accuracy in choose(chips):
        one, renderer = maps[number], renderers[number]
        whole = Window.from_shape(one.class_map.shape)
        window = Window(row * CHIP, col * CHIP, CHIP, CHIP).intersection(whole)
        assert window is not None  # the lattice begins at the map's first pixel
        truth, shown = one.labels.read(window), one.class_map.read(window)
        pictures = {} if renderer is None else {"Image": encode_png(renderer.render(window))}
        pictures |= {"Labels": encode_png(colors[truth]), "Map": encode_png(colors[shown])}
        pictures["Errors"] = encode_png(_errors(truth, shown))
        named = title if len(maps) == 1 else f"{title}, {one.name}"
        examples.append(Example(named, window, accuracy, pictures))
    return examples


def _errors(truth: NDArray[np.uint8], shown: NDArray[np.uint8]) -> NDArray[np.uint8]:
    known = (truth != IGNORE) & (shown != NODATA)
    picture = np.full((*truth.shape, 3), _UNKNOWN, np.uint8)
    picture[known & (truth == shown)] = _RIGHT
    picture[known & (truth != shown)] = _WRONG
    return picture


def encode_png(rgb: NDArray[np.uint8]) -> bytes:
    """Encode uint8 (rows, columns, 3) as PNG."""
    height, width, bands = rgb.shape
    with MemoryFile() as file:
        with file.open(driver="PNG", height=height, width=width, count=bands, dtype="uint8") as picture:
            picture.write(rgb.transpose(2, 0, 1))
        return bytes(file.read())
