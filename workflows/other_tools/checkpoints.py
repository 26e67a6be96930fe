"""Compare geoseg's classes with those of torchgeo, Lightning and smp, from files that these tools wrote.

Networks are trained for a few steps on real chips, saved by the tool itself, loaded by the tool itself, and
run by its own code; the same file is imported by geoseg, which maps the same chips. It needs an environment
with geoseg and torchgeo (`pip install torchgeo`).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import segmentation_models_pytorch as smp
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

import geoseg
from geoseg.verbs.import_model import import_model

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
MEAN, STD = 0.15, 0.1
SIDE = 256


@dataclass(frozen=True)
class Made:
    """A file of another tool, what geoseg must be told of it, and the tool's own inference.

    Attributes:
        path: The file or folder.
        said: Arguments of `import_model`.
        classes: Normalised chips (N, bands, rows, columns) to class indices (N, rows, columns).
    """

    path: Path
    said: dict[str, Any]
    classes: Callable[[torch.Tensor], torch.Tensor]


class Plain(LightningModule):
    """A module as in smp's examples: it keeps its own mean and std, and saves its hyper-parameters."""

    def __init__(self, arch: str, encoder_name: str, in_channels: int, out_classes: int) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.model = smp.create_model(
            arch, encoder_name, encoder_weights=None, in_channels=in_channels, classes=out_classes
        )
        self.register_buffer("mean", torch.full((1, in_channels, 1, 1), MEAN))
        self.register_buffer("std", torch.full((1, in_channels, 1, 1), STD))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Normalise, and run the network."""
        return self.model((image - self.mean) / self.std)

    def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Compute the loss of a batch."""
        return torch.nn.functional.cross_entropy(self(batch["image"]), batch["mask"], ignore_index=255)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Choose how weights are changed."""
        return torch.optim.Adam(self.parameters(), 1e-3)


def trainer(folder: Path, steps: int) -> Trainer:
    """A Trainer that runs a few steps and says nothing."""
    return Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


def of_torchgeo(folder: Path, batches: list[Any], steps: int, classes: int) -> Iterator[Made]:
    """Checkpoints of torchgeo's task, several architectures, and a binary one."""
    from torchgeo.trainers import SemanticSegmentationTask

    for model, backbone in (("unet", "resnet18"), ("deeplabv3+", "resnet18"), ("segformer", "mit_b0")):
        task = SemanticSegmentationTask(
            model=model,
            backbone=backbone,
            in_channels=len(BANDS),
            num_classes=classes,
            ignore_index=255,
            class_weights=torch.ones(classes),
        )
        path = folder / f"torchgeo-{model}.ckpt"
        run = trainer(folder, steps)
        run.fit(task, DataLoader(batches, batch_size=None))
        run.save_checkpoint(path)
        # Lightning's own way back is weights_only=False; the file was made here.
        loaded = SemanticSegmentationTask.load_from_checkpoint(path, map_location="cpu", weights_only=False)
        loaded.eval()

        def largest(chips: torch.Tensor, loaded: Any = loaded) -> torch.Tensor:
            return loaded.predict_step({"image": chips}, 0).argmax(dim=1)

        yield Made(path, {"mean": [MEAN], "std": [STD]}, largest)

    named = {"model": "unet", "backbone": "resnet18", "in_channels": len(BANDS)}
    task = SemanticSegmentationTask(**named, task="binary", loss="bce")
    path = folder / "torchgeo-binary.ckpt"
    first = [{"image": b["image"], "mask": (b["mask"] == 0).long()} for b in batches]
    run = trainer(folder, steps)
    run.fit(task, DataLoader(first, batch_size=None))
    run.save_checkpoint(path)
    task.eval()

    def above(chips: torch.Tensor) -> torch.Tensor:
        return (task.predict_step({"image": chips}, 0) > 0.5).long()[:, 0]

    yield Made(path, {"mean": [MEAN], "std": [STD], "classes": ["other", "first"]}, above)


def of_lightning(folder: Path, batches: list[Any], steps: int, classes: int) -> Iterator[Made]:
    """A checkpoint of a module of one's own, a state dict of its network, and smp's folder of it."""
    module = Plain("FPN", "resnet18", len(BANDS), classes)
    physical = [{**batch, "image": batch["image"] * STD + MEAN} for batch in batches]
    run = trainer(folder, steps)
    run.fit(module, DataLoader(physical, batch_size=None))
    run.save_checkpoint(folder / "lightning.ckpt")
    loaded = Plain.load_from_checkpoint(folder / "lightning.ckpt", map_location="cpu").eval()
    yield Made(folder / "lightning.ckpt", {}, lambda chips: loaded(chips * STD + MEAN).argmax(dim=1))

    network = loaded.model.eval()
    torch.save(network.state_dict(), folder / "weights.pth")
    said = {"mean": [MEAN], "std": [STD]}
    named = {"architecture": "fpn", "encoder": "resnet18"}
    yield Made(folder / "weights.pth", said | named, lambda chips: network(chips).argmax(dim=1))

    network.save_pretrained(folder / "smp")
    again = smp.from_pretrained(folder / "smp").eval()
    yield Made(folder / "smp", said, lambda chips: again(chips).argmax(dim=1))


def read_chips(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Read chips without a missing pixel, stored values (N, bands, rows, columns), and their labels."""
    chips, masks = [], []
    with rasterio.open(args.scene) as scene, rasterio.open(args.labels) as labels:
        for row in range(0, scene.height - SIDE, SIDE // 2):
            for col in range(0, scene.width - SIDE, SIDE // 2):
                window = rasterio.windows.Window(col, row, SIDE, SIDE)
                mask = labels.read(1, window=window)
                if (mask > 0).mean() < 0.5:
                    continue
                values = scene.read(window=window)
                if (values == scene.nodata).any():
                    continue
                chips.append(values)
                masks.append(mask)
                if len(chips) == args.chips:
                    return np.stack(chips), np.stack(masks)
    return np.stack(chips), np.stack(masks)


def by_geoseg(made: Made, chips: np.ndarray, names: list[str], folder: Path) -> np.ndarray:
    """Import the file and map every chip as a scene of its own."""
    said: dict[str, Any] = {"bands": BANDS, "classes": names, "scale": 1e-4, "chip_size": SIDE} | made.said
    package = import_model(made.path, folder / "package", **said, overwrite=True)
    maps = []
    for number, chip in enumerate(chips):
        path = folder / "chip.tif"
        profile = {"driver": "GTiff", "height": SIDE, "width": SIDE, "count": len(BANDS), "dtype": chip.dtype}
        with rasterio.open(path, "w", **profile) as file:
            file.write(chip)
            file.descriptions = BANDS
            file.scales = [1e-4] * len(BANDS)
        geoseg.predict(
            path,
            folder / "map.tif",
            model=package,
            precision="fp32",
            backend="torch",
            force=True,
            overwrite=True,
        )
        with rasterio.open(folder / "map.tif") as file:
            maps.append(file.read(1))
        print(f"{made.path.name}: chip {number + 1} of {len(chips)}", flush=True)
    return np.stack(maps)


def main() -> None:
    """Make the files, run both, print agreement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", type=Path, help="six bands, reflectance x 10000")
    parser.add_argument("labels", type=Path, help="a class raster on its grid, 0 for no label")
    parser.add_argument("--chips", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    torch.manual_seed(0)
    chips, masks = read_chips(args)
    classes = int(masks.max())
    normal = torch.from_numpy((chips.astype(np.float32) * np.float32(1e-4) - MEAN) / np.float32(STD))
    labels = torch.from_numpy(np.where(masks == 0, 255, masks - 1).astype(np.int64))
    parts = torch.arange(len(chips)).split(2)
    batches = [{"image": normal[part], "mask": labels[part]} for part in parts] * args.steps
    report = {}
    with tempfile.TemporaryDirectory() as place:
        for make in (of_torchgeo, of_lightning):
            for made in make(Path(place), batches, args.steps, classes):
                with torch.inference_mode():
                    theirs = torch.cat([made.classes(chip[None]) for chip in normal]).numpy()
                ours = by_geoseg(made, chips, [f"class {i + 1}" for i in range(classes)], Path(place))
                report[made.path.name] = {
                    "pixels": int(theirs.size),
                    "agree": float((ours == theirs).mean()),
                    "classes_seen": np.unique(theirs).tolist(),
                }
                print(json.dumps({made.path.name: report[made.path.name]}), flush=True)
    if args.report:
        args.report.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
