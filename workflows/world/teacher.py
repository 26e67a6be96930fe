"""Ask a teacher: Dynamic World's network, fitted to the patches for a short while.

Its weights (0.9 MB, Apache-2.0) are read from ``DATA/dynamic-world/weights.safetensors``; they are not
shipped.
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from ground import BANDS, NO_LABEL, Patches
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from views import View, ViewSettings, draw_view, orient, unorient

from geoseg.doctor.atmosphere import AIR
from geoseg.models import load_model
from geoseg.verbs.import_model import import_model

ITS_CLASSES = (8, 1, 3, 9, 4, 2, 5, 6, 7)
"""Our id of its classes: water, trees, grass, flooded vegetation, crops, shrub, built, bare, snow."""
_RED_EDGES = ("rededge071", "rededge075", "rededge078")
PATH, TRANSMITTED = zip(*(AIR[name] for name in (*BANDS[:3], *_RED_EDGES, *BANDS[3:])), strict=True)
"""Top of atmosphere = path + transmitted x surface, in the order of its nine bands."""
RED_EDGE = (
    (-0.352, 0.335, 0.805, 0.152, 0.077, -0.065, 0.0078),
    (-0.437, 0.471, 0.130, 0.788, -0.081, 0.029, 0.0062),
    (-0.198, 0.224, 0.004, 0.984, -0.088, 0.035, 0.0062),
)
"""B05, B06 and B07 from the six bands and 1, by least squares on African geomedians (R2 0.99)."""
_SIDE, _BATCH, _RATE, _DECAY, _AVERAGE, _MOMENTUM = 128, 8, 1.5e-3, 0.02, 0.97, 0.05


class Teacher(nn.Module):
    """Maps surface reflectance of our six bands to logits of our nine classes.

    Args:
        package: The imported network.
    """

    def __init__(self, package: Path) -> None:
        super().__init__()
        model = load_model(package)
        self.network, self.chains = model.network, model.card.transforms
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = _MOMENTUM
        self.order = [ITS_CLASSES.index(number) for number in range(1, len(ITS_CLASSES) + 1)]

    def forward(self, surface: Tensor) -> Tensor:
        """Compute logits (N, 9, rows, columns) of reflectance (N, 6, rows, columns)."""
        bands = surface.permute(0, 2, 3, 1)
        weights = torch.tensor(RED_EDGE)
        edge = linear(bands, weights[:, :-1], weights[:, -1])
        nine = torch.cat([bands[..., :3], edge, bands[..., 3:]], dim=-1)
        above = torch.tensor(PATH) + torch.tensor(TRANSMITTED) * nine
        seen = [self._step(above[..., index], chain) for index, chain in enumerate(self.chains)]
        return self.network(torch.stack(seen, dim=1))[:, self.order]

    @staticmethod
    def _step(values: Tensor, chain: object) -> Tensor:
        """Apply a band's transforms as ``geoseg.models.transforms`` does, with gradients left out."""
        for step in chain:  # type: ignore[attr-defined]
            if step.kind == "log":
                values = torch.log((values * step.value + 1).clamp(min=1e-6))
            elif step.kind == "sigmoid":
                values = torch.sigmoid(values)
            else:
                values = values * step.value if step.kind == "scale" else values + step.value
        return values


def teach(
    data: Path, patches: Patches, numbers: NDArray[np.intp], steps: int, views: ViewSettings, seed: int = 0
) -> NDArray[np.float16]:
    """Fit the teacher to some patches and ask it about all.

    Args:
        data: Folder with ``dynamic-world``.
        patches: The patches.
        numbers: Those that it may learn from.
        steps: Steps of the optimizer; 0 for the teacher as it is.
        views: How views differ from the patch.
        seed: Of the draws.

    Returns:
        Probabilities (patches, classes, rows, columns), the mean of two orientations.
    """
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "teacher"
        import_model(data / "dynamic-world" / "weights.safetensors", package)
        teacher = Teacher(package)
    if steps:
        _fit(teacher, patches, numbers, steps, views, seed)
    teacher.eval()
    with torch.inference_mode():
        said = [
            _ask(teacher, torch.from_numpy(part))
            for part in np.array_split(patches.values, len(patches.fold) // 8)
        ]
    return np.concatenate(said)


def _ask(teacher: Teacher, values: Tensor) -> NDArray[np.float16]:
    seen = [unorient(teacher(orient(values, turn)).softmax(1), turn) for turn in (0, 2)]
    mean: NDArray[np.float16] = (sum(seen) / len(seen)).half().numpy()  # type: ignore[union-attr]
    return mean


def _fit(
    teacher: Teacher, patches: Patches, numbers: NDArray[np.intp], steps: int, views: ViewSettings, seed: int
) -> None:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    teacher.train()
    optimizer = torch.optim.AdamW(teacher.parameters(), _RATE, weight_decay=_DECAY)
    average = {name: value.clone() for name, value in teacher.state_dict().items()}
    order: list[int] = []
    began = time.monotonic()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(1, (step + 1) / 10) * (0.51 + 0.5 * math.cos(math.pi * step / steps))
        drawn = []
        for _ in range(_BATCH):
            order = order or list(rng.permutation(numbers))
            drawn.append(draw_view(_whole(patches, order.pop()), views, rng, _SIDE))
        values = torch.stack([view.values for view in drawn])
        labels = torch.stack([torch.where(view.valid, view.labels, NO_LABEL) for view in drawn])
        loss = cross_entropy(teacher(values), labels, ignore_index=NO_LABEL, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(teacher.parameters(), 2.0)
        optimizer.step()
        kept = min(_AVERAGE, (step + 1) / (step + 10))
        for name, value in teacher.state_dict().items():
            average[name] = average[name] * kept + value * (1 - kept) if value.is_floating_point() else value
        if step % 20 == 0:
            print(
                f"teacher, step {step}: loss {float(loss.detach()):.3f}, {time.monotonic() - began:.0f} s",
                flush=True,
            )
    teacher.load_state_dict(average)


def _whole(patches: Patches, number: int) -> View:
    values = torch.from_numpy(patches.values[number])
    return View(values, (values > -0.5).all(0), torch.from_numpy(patches.labels[number]), None)
