"""Package a trained world model: card, temperatures, and a mosaic of patches to quantize it on.

    python workflows/world/package.py DATA RUN --name NAME --measured MEASURED.json -o PACKAGE

Beside PACKAGE it writes ``mosaic.tif`` and ``mosaic_labels.tif``, the patches of the run's fold side by
side, for ``geoseg models quantize``. Classes of ``--leave-out`` lose their output: what could not be learnt
is not shown.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import ground
import numpy as np
import rasterio
import torch
from measure import Run, calibration_error
from numpy.typing import NDArray
from rasterio.transform import from_origin
from torch import Tensor, nn
from train import LOG
from views import orient, unorient

from geoseg.classes import LandClass
from geoseg.models import ModelCard, save_model
from geoseg.models.card import ModelBand
from geoseg.models.networks import build_network
from geoseg.models.transforms import Transform

_LICENSE = "Apache-2.0"
_VIEWS = {"none": (0,), "flips": (0, 2, 4, 6), "d4": tuple(range(8))}
"""Test-time augmentation -> numbers of ``views.orient``."""
_CITATION = """\
Harmonised Landsat 8-9 and Sentinel-2 surface reflectance: NASA HLS. Labels: (c) ESA WorldCover project \
2020 / contains modified Copernicus Sentinel data (2020) processed by ESA WorldCover consortium, CC BY \
4.0. Patches: optical track of the 2024 IEEE GRSS Data Fusion Contest, "openly available to the community \
for further research". Teacher: Dynamic World, Brown et al. (2022), Sci Data 9, 251, Apache-2.0. North \
Dakota: Ziheng Sun (2019), Ag-Net Sample Training Dataset, MIT. African points: Digital Earth Africa \
cropland reference data, CC BY 4.0."""
_TRUST = """\
Trust it on cloud-free surface reflectance of Sentinel-2 L2A, Landsat 8-9 Collection 2 Level 2 or HLS, at \
10 to 30 m, for trees, cropland, grassland and water. Its labels are themselves a map (ESA WorldCover, \
which claims about 75 % accuracy), so its errors against the ground are larger than those measured. \
Built-up is often missed where houses stand among trees; dry grass, fallow fields and sparse vegetation \
are easily taken for one another. {left_out}It knows nothing of clouds, \
their shadows or smoke: mask them. One date shows one season: fields after harvest look bare or like \
grass. It learnt from {places} places; check it before you use it where none is like yours."""


def kept_classes(left_out: list[int]) -> list[int]:
    """Indices of the classes that stay."""
    return [number - 1 for number in ground.CLASSES if number not in left_out]


def without_classes(run: Run, kept: list[int]) -> nn.Module:
    """Copy the network with only some of its outputs."""
    widths = list(run.recipe["widths"])
    network: nn.Module = build_network(
        "unet-classic", bands=run.recipe["bands"], classes=len(kept), depth=len(widths) - 1, width=widths
    )
    weights = dict(run.network.state_dict())
    for name in ("head.weight", "head.bias"):
        weights[name] = weights[name][kept]
    network.load_state_dict(weights)
    return network.eval()


@torch.inference_mode()
def fit_temperatures(run: Run, patches: ground.Patches, kept: list[int]) -> dict[str, float]:
    """Find for each augmentation the temperature with the least calibration error on the run's fold."""
    numbers = patches.held_out(run.fold)
    values = torch.from_numpy(patches.values[numbers])
    of_view: list[Tensor] = [unorient(run.logits(orient(values, turn))[:, kept], turn) for turn in range(8)]
    back = np.full(len(ground.CLASSES) + 1, ground.NO_LABEL)
    back[kept] = np.arange(len(kept))
    labels = back[patches.labels[numbers]]
    found = {}
    for name, turns in _VIEWS.items():

        def error(temperature: float, turns: tuple[int, ...] = turns) -> float:
            mean = sum((of_view[turn] / temperature).softmax(1) for turn in turns) / len(turns)
            return calibration_error(mean.numpy(), labels)

        trials = np.geomspace(0.6, 1.6, 21)
        found[name] = round(float(trials[int(np.argmin([error(float(each)) for each in trials]))]), 4)
    return found


def make_card(
    run: Run, patches: ground.Patches, kept: list[int], name: str, metrics: dict[str, Any]
) -> ModelCard:
    """Describe the model."""
    numbers = patches.training(run.fold)
    places, labelled = len(set(patches.place[numbers])), (patches.labels[numbers] >= 0).sum()
    values = patches.values[numbers].transpose(1, 0, 2, 3).reshape(len(ground.BANDS), -1)
    known = (values > -0.5).all(axis=0)
    bands = []
    for index, band in enumerate(ground.BANDS[: run.recipe["bands"]]):
        low, high = np.percentile(values[index, known], (1, 99))
        mean, std = float(run.norm.mean[index]), float(run.norm.std[index])
        bands.append(ModelBand(band, mean, std, float(low), float(high), (Transform("log", LOG),)))
    lost = [text for number, (text, _) in ground.CLASSES.items() if number - 1 not in kept]
    without = f"It has no class for {', '.join(lost)}, which it could not learn: they get another class. "
    left_out = without if lost else ""
    widths = list(run.recipe["widths"])
    return ModelCard(
        name=name,
        summary=f"Worldwide land cover from {len(bands)} bands of surface reflectance at 10 to 30 m.",
        bands=tuple(bands),
        classes=tuple(LandClass(index + 1, *ground.CLASSES[index + 1]) for index in kept),
        architecture="unet-classic",
        network={"depth": len(widths) - 1, "width": widths},
        chip_size=512,
        overlap=64,
        value_scale=ground.SCALE,
        gsd=30.0,
        gsd_range=(10.0, 30.0),
        temperatures=fit_temperatures(run, patches, kept),
        trained_on=f"{len(numbers)} patches of {places} places all over the world (HLS, 30 m; "
        f"{labelled / 1e6:.1f} million labelled pixels), a Landsat 8 scene of North Dakota, "
        "African points of crop or not",
        license=_LICENSE,
        citation=_CITATION,
        metrics=metrics,
        trust=_TRUST.format(left_out=left_out, places=places),
    )


def write_mosaic(folder: Path, patches: ground.Patches, numbers: NDArray[np.intp], kept: list[int]) -> None:
    """Write patches side by side, with their labels, as one scene."""
    across = int(np.ceil(np.sqrt(len(numbers))))
    side = patches.labels.shape[-1]
    values = np.full((len(ground.BANDS), across * side, across * side), -9999, np.int16)
    labels = np.zeros(values.shape[1:], np.uint8)
    for place, number in enumerate(numbers):
        row, col = (each * side for each in divmod(place, across))
        part = (slice(row, row + side), slice(col, col + side))
        values[(slice(None), *part)] = np.rint(patches.values[number] / ground.SCALE)
        labels[part] = np.where(np.isin(patches.labels[number], kept), patches.labels[number] + 1, 0)
    shape = {"driver": "GTiff", "height": values.shape[1], "width": values.shape[2], "compress": "deflate"}
    where = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 30, 30)}
    with rasterio.open(
        folder / "mosaic.tif", "w", count=len(values), dtype="int16", nodata=-9999, **shape, **where
    ) as scene:
        scene.write(values)
        scene.descriptions, scene.scales = ground.BANDS, [ground.SCALE] * len(values)
    with rasterio.open(
        folder / "mosaic_labels.tif", "w", count=1, dtype="uint8", nodata=0, **shape, **where
    ) as truth:
        truth.write(labels, 1)


def main() -> None:
    """Write the package and the mosaic."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--measured", type=Path, required=True, help="what measure.py wrote with --json")
    parser.add_argument("--split", required=True, help="where it was measured, in words")
    parser.add_argument("--leave-out", type=int, nargs="*", default=[], metavar="CLASS")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    run, patches = Run(options.run), ground.read_patches(options.data)
    if run.fold is None:
        parser.error(f"{options.run} held out no fold to fit temperatures on; train it with --fold")
    kept = kept_classes(options.leave_out)
    measured = json.loads(options.measured.read_text())
    metrics: dict[str, Any] = {"split": options.split}
    for name, (value, low, high) in measured["network"].items():
        if name in ("accuracy", "miou"):
            metrics |= {name: value, f"{name}_interval": [low, high]}
    metrics["miou_of"] = ", ".join(ground.CLASSES[number][0] for number in ground.COMMON)
    metrics["iou"] = {
        name: value for name, (value, *_) in measured["network"].items() if name not in ("accuracy", "miou")
    }
    card = make_card(run, patches, kept, options.name, metrics)
    save_model(options.output, card, without_classes(run, kept), precision="fp16")
    write_mosaic(options.output.parent, patches, patches.held_out(run.fold), kept)


if __name__ == "__main__":
    main()
