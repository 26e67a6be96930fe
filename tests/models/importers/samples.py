"""A small source of every kind, in the layout of the original tool, and what its network says of a chip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from tests.models.dynamic_world_layers import input_step, logits, random_weights
from tests.models.foreign import TEXTS, foreign_onnx, tool_map

Chips = NDArray[np.float32]

SAID = {
    "bands": ("red", "green", "blue"),
    "classes": ("other", "crop", "water"),
    "mean": [0.2],
    "std": [0.1],
    "chip_size": 64,
}
NAMED = {**SAID, "architecture": "unet", "encoder": "mobilenet_v2", "network": {"decoder_channels": [16] * 5}}


@dataclass(frozen=True)
class Sample:
    """A source, and the truth about it.

    Attributes:
        path: The file or folder.
        said: What `import_model` must be told.
        logits: The original: physical values (bands, rows, columns) to (classes, rows, columns).
        missing: Arguments that cannot be left out -> what the message then names.
        backend: What runs the package.
    """

    path: Path
    said: Mapping[str, Any]
    logits: Callable[[Chips], Chips]
    missing: Mapping[str, str] = field(
        default_factory=lambda: {"bands": "--bands", "classes": "--classes", "mean": "--mean", "std": "--std"}
    )
    backend: str = "torch"


def small_unet(bands: int = 3, classes: int = 3, seed: int = 3, **options: Any) -> Any:
    """A network of smp with random weights."""
    torch.manual_seed(seed)
    return smp.Unet(
        "mobilenet_v2",
        encoder_weights=None,
        in_channels=bands,
        classes=classes,
        decoder_channels=[16] * 5,
        **options,
    ).eval()


def forward(network: Any, mean: float = 0.2, std: float = 0.1) -> Callable[[Chips], Chips]:
    """The original's own inference: normalise, run."""

    def run(values: Chips) -> Chips:
        with torch.inference_mode():
            return network(torch.from_numpy((values - np.float32(mean)) / np.float32(std))[None])[0].numpy()

    return run


def smp_folder(folder: Path) -> Sample:
    network = small_unet()
    network.save_pretrained(folder / "smp")
    return Sample(folder / "smp", SAID, forward(network))


def deepness(folder: Path) -> Sample:
    texts = TEXTS | {
        "standardization_mean": f"[{', '.join(3 * [repr(0.2 / 255)])}]",
        "standardization_std": f"[{', '.join(3 * [repr(0.1 / 255)])}]",
    }
    path = foreign_onnx(folder / "net.onnx", texts=texts, side=64)
    return Sample(path, {}, lambda values: tool_map(path, values), missing={}, backend="onnx")


def dynamic_world(folder: Path) -> Sample:
    weights = random_weights()
    save_file(weights, folder / "weights.safetensors")

    def run(values: Chips) -> Chips:
        with torch.inference_mode():
            return logits(weights, input_step(10000 * torch.from_numpy(values))[None])[0].numpy()

    return Sample(folder / "weights.safetensors", {"chip_size": 64}, run, {})


def checkpoint(network: Any, prefix: str = "model.", **more: Any) -> dict[str, Any]:
    """What Lightning's Trainer saves of a module."""
    return {
        "epoch": 3,
        "global_step": 40,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {f"{prefix}{name}": value for name, value in network.state_dict().items()},
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-3}]}],
        "lr_schedulers": [],
        **more,
    }


def torchgeo(folder: Path) -> Sample:
    torch.manual_seed(3)
    network = smp.DeepLabV3Plus("mobilenet_v2", encoder_weights=None, in_channels=4, classes=3).eval()
    saved = {
        "model": "deeplabv3+",
        "backbone": "mobilenet_v2",
        "in_channels": 4,
        "task": "multiclass",
        "num_classes": 3,
        "num_labels": None,
        "num_filters": 3,
        "loss": "ce",
        "class_weights": torch.ones(3),
        "ignore_index": None,
        "lr": 1e-3,
    }
    content = checkpoint(network, hparams_name="kwargs", hyper_parameters=saved)
    content["state_dict"]["criterion.weight"] = torch.ones(3)
    torch.save(content, folder / "last.ckpt")
    return Sample(folder / "last.ckpt", SAID | {"bands": ("red", "green", "blue", "nir")}, forward(network))


def lightning(folder: Path) -> Sample:
    network = smp.FPN("mobilenet_v2", encoder_weights=None, in_channels=3, classes=3).eval()
    saved = {"arch": "FPN", "encoder_name": "mobilenet_v2", "lr": 1e-3, "out_classes": 3}
    content = checkpoint(network, "net.", hparams_name="kwargs", hyper_parameters=saved)
    content["state_dict"] |= {"mean": torch.full((1, 3, 1, 1), 0.2), "std": torch.full((1, 3, 1, 1), 0.1)}
    torch.save(content, folder / "epoch=3.ckpt")
    said = {key: SAID[key] for key in ("bands", "classes", "chip_size")}
    return Sample(
        folder / "epoch=3.ckpt", said, forward(network), {"bands": "--bands", "classes": "--classes"}
    )


def state_dict(folder: Path) -> Sample:
    network = small_unet()
    torch.save(network.state_dict(), folder / "weights.pth")
    missing = {"bands": "--bands", "classes": "--classes", "architecture": "--architecture"}
    return Sample(folder / "weights.pth", NAMED, forward(network), missing)


SAMPLES: dict[str, Callable[[Path], Sample]] = {
    "SmpFolder": smp_folder,
    "OnnxNetwork": deepness,
    "DynamicWorldWeights": dynamic_world,
    "TorchgeoCheckpoint": torchgeo,
    "LightningCheckpoint": lightning,
    "StateDict": state_dict,
}
"""Class of an importer -> writes a sample of its kind."""
