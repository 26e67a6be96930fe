"""A small source of every kind, as the original tool writes it, and what that tool's network says of a chip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.models import build_network

Chips = NDArray[np.float32]

CLASSES = ("other", "crop", "water")
SAID = {"bands": ("red", "green", "blue"), "classes": CLASSES, "mean": [0.2], "std": [0.1], "chip_size": 64}


@dataclass(frozen=True)
class Sample:
    """A source, and the truth about it.

    Attributes:
        path: The file or folder.
        said: What `import_model` must be told.
        logits: The original: physical values (bands, rows, columns) to (classes, rows, columns).
        missing: An argument that cannot be left out, and what the message then names.
    """

    path: Path
    said: Mapping[str, Any]
    logits: Callable[[Chips], Chips]
    missing: Mapping[str, str] = field(default_factory=lambda: {"bands": "--bands", "classes": "--classes"})


def forward(network: Any, mean: float = 0.2, std: float = 0.1) -> Callable[[Chips], Chips]:
    """The original's own inference: normalise, run."""

    def logits(values: Chips) -> Chips:
        with torch.inference_mode():
            return network.eval()(torch.from_numpy((values - mean) / std)[None].float())[0].numpy()

    return logits


def small_unet(bands: int = 3, classes: int = 3) -> Any:
    """A network of smp with random weights and batch statistics."""
    torch.manual_seed(3)
    network = build_network(
        "unet", encoder="resnet18", bands=bands, classes=classes, decoder_channels=[16] * 5
    )
    return network.eval()


def smp_folder(folder: Path) -> Sample:
    network = small_unet()
    network.save_pretrained(folder / "smp")
    return Sample(folder / "smp", SAID, forward(network))


SAMPLES: dict[str, Callable[[Path], Sample]] = {"SmpFolder": smp_folder}
"""Class of an importer -> writes a sample of its kind. A sample may skip, where its tool is not installed."""
