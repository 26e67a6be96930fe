"""``geoseg models quantize``: a package with an int8 network, and what that costs in quality."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.assess.compare import WINDOW, compare
from geoseg.assess.scores import number, score
from geoseg.classes import NODATA
from geoseg.doctor.examine import examine
from geoseg.errors import SceneError, SettingsError
from geoseg.grid import Window, tiles
from geoseg.inference.backends.convert import converted_network
from geoseg.inference.reading import Normalisation
from geoseg.labels.labels import open_labels
from geoseg.maps.class_map_file import open_class_map
from geoseg.models.conversion import ChipShape
from geoseg.models.model import Model
from geoseg.models.package import open_model, write_package
from geoseg.models.quantize import check_can_quantize, quantize_network
from geoseg.omissions import settle
from geoseg.plan.prepare import PredictRequest, raise_if_unfit
from geoseg.plan.settings import ComputeOptions
from geoseg.progress import Progress, Silent
from geoseg.scene.opening import SceneOptions
from geoseg.scene.scene import Scene
from geoseg.verbs.export import check_folder
from geoseg.verbs.predict import run_request

PathLike = str | os.PathLike[str]
CHIPS = 100
"""Chips of up to 512 pixels a side that set the scales; of larger ones as many as hold as many pixels."""
_FEWEST = 16
_ENOUGH = 0.5
"""Least share of valid pixels of a chip that is drawn."""
_TRIES = 8
"""Places looked at for each chip."""


@dataclass(frozen=True)
class QuantizeResult:
    """What ``quantize_model`` made.

    Attributes:
        folder: The new package.
        measured: What the card says of it: chips, agreement with fp32, and scores where labels were given.
        left_out: What of labels, scenes and area was left out, as in reports.
    """

    folder: Path
    measured: Mapping[str, Any]
    left_out: tuple[dict[str, Any], ...] = ()


def quantize_model(
    model: PathLike | None,
    scenes: Sequence[PathLike],
    output: PathLike,
    *,
    labels: Sequence[PathLike] = (),
    label_column: str | None = None,
    aoi: PathLike | None = None,
    chips: int | None = None,
    seed: int = 0,
    bands: Sequence[str | int] | None = None,
    nodata: float | None = None,
    scale: float | str | None = None,
    offset: float | None = None,
    atmosphere: str = "auto",
    warp: bool = False,
    force: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> QuantizeResult:
    """Quantize a model to int8 on real scenes, and measure it against fp32 on them.

    Args:
        model: Bundled name, folder, zip or ``hf://``; None for the default.
        scenes: Like what the model will map; chips of them set the scales.
        output: The new package's folder.
        labels: What is true, one file a scene: a class raster or polygons.
        label_column: Column of polygons that names the class.
        aoi: Measure only inside these polygons, ground that the model was not trained on. Chips are drawn
            from whole scenes.
        chips: How many are drawn; default 100, fewer of chips larger than 512.
        seed: Of the places they are drawn from.
        bands: As for ``geoseg.predict``.
        nodata: As for ``geoseg.predict``.
        scale: As for ``geoseg.predict``.
        offset: As for ``geoseg.predict``.
        atmosphere: As for ``geoseg.predict``.
        warp: As for ``geoseg.predict``.
        force: As for ``geoseg.predict``.
        overwrite: Replace a package that is there.
        progress: Shows how far it is.

    Returns:
        The package, and what was measured.

    Raises:
        InputError: If something is not installed, or an input is wrong.
    """
    progress = progress or Silent()
    folder = check_folder(output, overwrite=overwrite)
    check_can_quantize()
    if not scenes or (labels and len(labels) != len(scenes)):
        raise SettingsError("give at least one scene, and as many --labels as --scenes or none")
    if chips is not None and chips < 1:
        raise SettingsError(f"--chips must be at least 1, not {chips}")
    reading = SceneOptions(
        bands=bands, nodata=nodata, scale=scale, offset=offset, atmosphere=atmosphere, warp=warp
    )
    opened = open_model(model)
    pictures = [_open(path, opened, reading, force=force) for path in scenes]
    left_out: list[dict[str, Any]] = []
    for picture, truth in zip(pictures, labels, strict=False):  # as many, or none
        known = open_labels(truth, picture, opened.card.classes, column=label_column)
        left_out += settle(known.omissions, progress, force=force)
        known.close()
    shape = ChipShape(1, len(opened.card.bands), opened.card.chip_size)
    network = converted_network(opened, "openvino", "fp32", shape, progress)
    normalisation = Normalisation.of(opened.card.bands)
    drawn = draw_chips(pictures, normalisation, shape.side, chips or enough_chips(shape.side), seed)
    progress.say(f"quantizing with {len(drawn)} chips of {len(scenes)} scenes")
    int8 = quantize_network(network, drawn)
    with tempfile.TemporaryDirectory(prefix="geoseg-quantize-") as place:
        # Not the package that was given: its path may also name a bundled model.
        staged = write_package(opened, Path(place) / "package", [int8])
        request = PredictRequest(scene=(), model=staged, aoi=aoi, force=force, reading=reading)
        maps, lost = _map_both_ways(request, scenes, Path(place), progress)
        measured = _about(len(drawn), pictures) | agreement(maps)
        if labels:
            measured["fp32"] = label_scores([fp32 for fp32, _ in maps], labels, label_column)
            measured["int8"] = label_scores([int8 for _, int8 in maps], labels, label_column)
        shutil.rmtree(staged)
    return QuantizeResult(write_package(opened, folder, [int8], measured), measured, (*left_out, *lost))


def enough_chips(side: int) -> int:
    """Choose how many chips of a size set scales that can be relied on."""
    return max(_FEWEST, min(CHIPS, round(CHIPS * 512**2 / side**2)))


def _open(path: PathLike, model: Model, reading: SceneOptions, *, force: bool) -> Scene:
    """Open a scene as the model reads it; refuse it where predict would."""
    scene = reading.open_all_bands(path)
    diagnosis = examine(scene, model.card, bands=reading.bands)
    raise_if_unfit(diagnosis, scene, force=force)
    assert diagnosis.match is not None  # raise_if_unfit() has refused scenes without the bands
    return diagnosis.scene.select(diagnosis.match.numbers, invalid_where=model.card.invalid_where)


def _about(chips: int, scenes: Sequence[Scene]) -> dict[str, Any]:
    return {
        "method": f"post-training, int8 weights and activations, nncf {version('nncf')}",
        "calibration_chips": chips,
        "scenes": [scene.name for scene in scenes],
    }


def _map_both_ways(
    request: PredictRequest, scenes: Sequence[PathLike], folder: Path, progress: Progress
) -> tuple[list[tuple[Path, Path]], list[dict[str, Any]]]:
    """Map every scene in fp32 and in int8, both with OpenVINO; returns the maps, and what they leave out."""
    maps, left_out = [], []
    for i, scene in enumerate(scenes):
        both = (folder / f"{i}-fp32.tif", folder / f"{i}-int8.tif")
        for path, precision in zip(both, ("fp32", "int8"), strict=True):
            progress.say(f"mapping {os.fspath(scene)} in {precision}")
            compute = ComputeOptions(backend="openvino", precision=precision)
            made = run_request(replace(request, scene=scene, output=path, compute=compute), Silent())
        lost = [each for each in made.report["left_out"] if each["kind"] != "dates"]  # no map has one here
        for each in lost:
            progress.say(f"warning: {each['line']}")
        left_out += lost
        maps.append(both)
    return maps, left_out


def draw_chips(
    scenes: Sequence[Scene], normalisation: Normalisation, side: int, count: int, seed: int = 0
) -> list[NDArray[np.float32]]:
    """Draw chips at random places, the same number of each scene; the same seed draws the same.

    Args:
        scenes: Their bands in the model's order.
        normalisation: The package's.
        side: Rows and columns of a chip.
        count: How many in all.
        seed: Of the places.

    Returns:
        float32 (1, bands, side, side) each, normalised, 0 where there is nothing.

    Raises:
        SceneError: If no scene has a valid pixel.
    """
    rng = np.random.default_rng(seed)
    each = -(-count // len(scenes))
    drawn = [chip for scene in scenes for chip in islice(_chips(scene, normalisation, side, each, rng), each)]
    if not drawn:
        raise SceneError(
            f"{scenes[0].name}: there is no valid pixel to calibrate with in {len(scenes)} scenes"
        )
    return drawn[:count]


def _chips(
    scene: Scene, normalisation: Normalisation, side: int, count: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float32]]:
    """Yield chips that are valid enough first, then whatever has a valid pixel."""
    sparse = []
    for _ in range(count * _TRIES):
        chip, valid = _read_chip(scene, normalisation, side, rng)
        if valid >= _ENOUGH:
            yield chip
        elif valid > 0:
            sparse.append(chip)
    yield from sparse


def _read_chip(
    scene: Scene, normalisation: Normalisation, side: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], float]:
    """Read a chip and the share of it that is valid; a scene smaller than the chip lies in its corner."""
    rows, cols = scene.shape
    top, left = (int(rng.integers(0, max(1, size - side + 1))) for size in (rows, cols))
    window = Window(top, left, min(side, rows), min(side, cols))
    values, valid = scene.read(window)
    chip = np.zeros((1, values.shape[0], side, side), np.float32)
    chip[0, :, : window.height, : window.width] = normalisation.apply(values, valid)
    return chip, float(valid.mean())


def agreement(maps: Sequence[tuple[Path, Path]]) -> dict[str, Any]:
    """Count the valid pixels that show the same class.

    Args:
        maps: Pairs of class maps on one grid.

    Returns:
        ``pixels`` that both show, and ``agreement``, the share of them with the same class (None for none).
    """
    pixels = same = 0
    for first, second in maps:
        one, other = open_class_map(first), open_class_map(second)
        for window in tiles(one.shape, WINDOW):
            left, right = one.read(window), other.read(window)
            shown = (left != NODATA) & (right != NODATA)
            pixels += int(shown.sum())
            same += int(np.count_nonzero(left[shown] == right[shown]))
    return {"pixels": pixels, "agreement": number(same / pixels) if pixels else None}


def label_scores(
    maps: Sequence[Path], labels: Sequence[str | os.PathLike[str]], label_column: str | None
) -> dict[str, Any]:
    """Score several maps taken together.

    Args:
        maps: Class maps.
        labels: What is true, one file a map.
        label_column: Column of polygons that names the class.

    Returns:
        ``accuracy``, ``miou`` (None where nothing is labelled) and ``labelled_pixels``.
    """
    confusion = np.zeros((256, 256), np.int64)
    for path, truth in zip(maps, labels, strict=True):
        class_map = open_class_map(path)
        opened = open_labels(truth, class_map.path, class_map.legend or None, column=label_column)
        confusion += compare(class_map, opened, block=WINDOW).confusion()
    scores = score(confusion)
    return {
        "accuracy": number(scores.accuracy),
        "miou": number(scores.miou),
        "labelled_pixels": int(confusion.sum()),
    }
