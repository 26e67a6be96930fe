"""Map held-out regions, each with a network that was not trained on it, as ``predict`` maps scenes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.execute.blocks import BlockRenderer, FinishedBlock
from geoseg.execute.local import finish_in_memory
from geoseg.execute.spec import RunSpec
from geoseg.files import publish
from geoseg.grid import Grid, Window
from geoseg.inference.backends.make import make_backend
from geoseg.maps.kinds import ClassMap, ConfidenceMap, MapKind
from geoseg.maps.writer import TILE, MapWriter
from geoseg.models.model import Model
from geoseg.plan.settings import ComputeOptions, Settings, resolve_settings
from geoseg.progress import Bar, Progress
from geoseg.training.ground.folds import Region
from geoseg.training.ground.labelled_scene import LabelledScene

BLOCK_SIZE = 1024
"""Side of the blocks that are predicted, in pixels; never changes the maps."""
_STRIPE = 4 * TILE


@dataclass(frozen=True)
class HeldOutPart:
    """A model, and the regions that it maps.

    Attributes:
        model: The model.
        regions: Regions that it was not trained on.
    """

    model: Model
    regions: tuple[Region, ...]


@dataclass(frozen=True)
class HeldOutMap:
    """The maps of one scene; pixels outside held-out regions are nodata.

    Attributes:
        scene: Index of the scene.
        classes: The class map.
        confidence: The confidence raster.
    """

    scene: int
    classes: Path
    confidence: Path


def held_out_settings(model: Model, device: str, tta: str = "none") -> Settings:
    """Resolve the settings with which ``predict --backend torch`` runs a model."""
    bands = tuple(range(1, len(model.card.bands) + 1))
    asked = ComputeOptions(block_size=BLOCK_SIZE, backend="torch", device=device, tta=tta)
    return resolve_settings(model, bands, asked)


def map_held_out(
    scenes: Sequence[LabelledScene],
    parts: Sequence[HeldOutPart],
    folder: Path,
    progress: Progress,
    *,
    device: str,
    tags: Mapping[str, str],
) -> list[HeldOutMap]:
    """Map every scene that has held-out regions.

    Chips lie on the grid of ``predict`` and read pixels outside the regions too, as in ``predict``; only
    pixels inside the regions are kept.

    Args:
        scenes: The scenes.
        parts: Models and the regions they map; regions of different parts share no pixel.
        folder: Folder of the maps, which are named after their scenes; made if it does not exist.
        progress: Shows how far the run is.
        device: The device to compute on.
        tags: Provenance of the maps.

    Raises:
        RunError: If reading or writing failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = sorted({region.scene for part in parts for region in part.regions})
    total = sum(region.window.pixels for part in parts for region in part.regions)
    maps = []
    with progress.stage("mapping held-out regions", total / 1e6, "Mpx") as bar:
        for number in numbers:
            with _open_layers(folder, scenes[number].shape) as layers:
                for part in parts:
                    regions = [region for region in part.regions if region.scene == number]
                    _map_regions(layers, scenes[number], part.model, regions, device, bar)
                name = _name(scenes, number)
                maps.append(_write(layers, scenes[number], parts[0].model, folder, name, number, tags))
    return maps


def _kinds(model: Model) -> tuple[MapKind, MapKind]:
    return ClassMap(model.card.classes), ConfidenceMap()


def _name(scenes: Sequence[LabelledScene], number: int) -> str:
    name = scenes[number].image.name
    same = [i for i, scene in enumerate(scenes) if scene.image.name == name]
    return name if len(same) == 1 else f"{name}-{same.index(number) + 1}"


@contextmanager
def _open_layers(folder: Path, shape: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """Keep classes and confidence of a scene on disk as 255 - value, so that an empty file is nodata."""
    path = folder / ".layers"
    try:
        yield np.memmap(path, np.uint8, "w+", shape=(2, *shape))
    finally:
        path.unlink(missing_ok=True)


def _map_regions(
    layers: NDArray[np.uint8],
    scene: LabelledScene,
    model: Model,
    regions: Sequence[Region],
    device: str,
    bar: Bar,
) -> None:
    settings = held_out_settings(model, device)
    backend = make_backend(model, settings)
    grid = Grid(scene.shape, settings.chip_size, settings.overlap)
    for region in regions:
        window = region.window.intersection(Window.from_shape(scene.shape))
        if window is None:
            continue
        spec = RunSpec(
            scene=scene.image,
            model=model,
            settings=settings,
            grid=grid,
            area=region,
            renderer=BlockRenderer(_kinds(model), model.card.classes, window, None),
            blocks=tuple(grid.blocks(BLOCK_SIZE, window)),
        )
        for block in finish_in_memory(spec, backend):
            _store(layers, block, model)
        bar.advance(window.pixels / 1e6)


def _store(layers: NDArray[np.uint8], block: FinishedBlock, model: Model) -> None:
    if block.window is None or not block.maps:
        return
    mapped = block.maps["classes"][0] != NODATA
    for layer, kind in zip(layers, _kinds(model), strict=True):
        layer[block.window.slices()][mapped] = NODATA - block.maps[kind.name][0][mapped]


def _write(
    layers: NDArray[np.uint8],
    scene: LabelledScene,
    model: Model,
    folder: Path,
    name: str,
    number: int,
    tags: Mapping[str, str],
) -> HeldOutMap:
    finals = []
    for layer, kind in zip(layers, _kinds(model), strict=True):
        final = folder / f"{name}_{kind.name}.tif"
        whole = Window.from_shape(scene.shape)
        writer = MapWriter(kind, final, folder, whole, scene.image.georeference, tags)
        for row in range(0, whole.height, _STRIPE):
            stripe = Window(row, 0, min(_STRIPE, whole.height - row), whole.width)
            writer.write(stripe, NODATA - layer[stripe.slices()][None])
        publish(writer.finish())
        finals.append(final)
    return HeldOutMap(number, *finals)
