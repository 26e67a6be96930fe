"""``geoseg models quantize``: a package with an int8 network, and what that costs in quality."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from geoseg.doctor.examine import examine
from geoseg.errors import SettingsError
from geoseg.inference.backends.convert import converted_network
from geoseg.inference.reading import Normalisation
from geoseg.models import Model, open_model
from geoseg.models.conversion import ChipShape
from geoseg.models.package import write_package
from geoseg.models.quantize import check_can_quantize, quantize_network
from geoseg.plan.prepare import raise_if_unfit
from geoseg.progress import Progress, Silent
from geoseg.scene import Scene, open_scene
from geoseg.verbs.agreement import agreement, label_scores
from geoseg.verbs.calibration_chips import draw_chips
from geoseg.verbs.export import check_folder
from geoseg.verbs.predict import predict

PathLike = str | os.PathLike[str]
CHIPS = 100
"""Chips of up to 512 pixels a side that set the scales; of larger ones as many as hold as many pixels."""
_FEWEST = 16
_OF_SCENE = ("nodata", "scale", "offset", "warp")


@dataclass(frozen=True)
class Quantized:
    """What ``quantize_model`` made.

    Attributes:
        folder: The new package.
        measured: What the card says of it: chips, agreement with fp32, and scores where labels were given.
    """

    folder: Path
    measured: Mapping[str, Any]


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
    prediction: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Quantized:
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
        prediction: Further arguments of ``geoseg.predict``: bands, nodata, scale, offset, warp, force.
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
    further = dict(prediction or {})
    opened = open_model(model)
    pictures = [_open(path, opened, further) for path in scenes]
    shape = ChipShape(1, len(opened.bands), opened.chip_size)
    network = converted_network(opened, "openvino", "fp32", shape, progress.say)
    normalisation = Normalisation(opened.card.means, opened.card.stds)
    drawn = draw_chips(pictures, normalisation, shape.side, chips or enough_chips(shape.side), seed)
    progress.say(f"quantizing with {len(drawn)} chips of {len(scenes)} scenes")
    int8 = quantize_network(network, drawn)
    with tempfile.TemporaryDirectory(prefix="geoseg-quantize-") as place:
        staged = write_package(opened, Path(place) / "package", [int8])
        truths: Sequence[PathLike | None] = labels or [None] * len(scenes)
        further |= {} if aoi is None else {"aoi": aoi}
        measured = _about(len(drawn), pictures) | _measure(
            staged, list(zip(scenes, truths, strict=True)), label_column, further, progress
        )
        shutil.rmtree(staged)
    return Quantized(write_package(opened, folder, [int8], measured), measured)


def enough_chips(side: int) -> int:
    """How many chips of a size set scales that can be relied on."""
    return max(_FEWEST, min(CHIPS, round(CHIPS * 512**2 / side**2)))


def _open(path: PathLike, model: Model, further: Mapping[str, Any]) -> Scene:
    """A scene as the model reads it; refused where predict would refuse it."""
    scene = open_scene(path, **{key: further[key] for key in _OF_SCENE if key in further})
    diagnosis = examine(scene, model.card, bands=further.get("bands"))
    raise_if_unfit(diagnosis, scene, force=bool(further.get("force")))
    assert diagnosis.match is not None  # raise_if_unfit() has refused scenes without the bands
    return scene.select(diagnosis.match.numbers, invalid_where=model.card.invalid_where)


def _about(chips: int, scenes: Sequence[Scene]) -> dict[str, Any]:
    return {
        "method": f"post-training, int8 weights and activations, nncf {version('nncf')}",
        "calibration_chips": chips,
        "scenes": [scene.name for scene in scenes],
    }


def _measure(
    staged: Path,
    pairs: Sequence[tuple[PathLike, PathLike | None]],
    label_column: str | None,
    further: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """Map every scene both ways, with OpenVINO, and compare the maps with each other and with labels."""
    maps: list[tuple[Path, Path]] = []
    with tempfile.TemporaryDirectory(prefix="geoseg-quantize-") as place:
        for number, (scene, _) in enumerate(pairs):
            both = (Path(place) / f"{number}-fp32.tif", Path(place) / f"{number}-int8.tif")
            for path, precision in zip(both, ("fp32", "int8"), strict=True):
                progress.say(f"mapping {os.fspath(scene)} in {precision}")
                # Never the package that was given: its path may also be the name of a bundled model.
                asked: dict[str, Any] = {"model": staged, "backend": "openvino", "precision": precision}
                predict(scene, path, **asked, **further)
            maps.append(both)
        measured = agreement(maps)
        truths = [truth for _, truth in pairs if truth is not None]
        if truths:
            measured |= {
                "fp32": label_scores([fp32 for fp32, _ in maps], truths, label_column),
                "int8": label_scores([int8 for _, int8 in maps], truths, label_column),
            }
    return measured
