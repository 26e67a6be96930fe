"""Train a world model from random weights on WorldCover patches, with a teacher's soft labels.

    python workflows/world/train.py DATA RUN [--recipe workflows/world/recipe.toml] [--fold N]

DATA holds ``worldcover``, ``dakota``, ``africa`` and ``dynamic-world``. With ``--fold`` the patches of that
fold are held out, by the teacher too; without, all train. RUN gets the teacher, its soft labels, and the
network.
"""

from __future__ import annotations

import argparse
import math
import time
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import ground
import numpy as np
import teacher
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, one_hot
from views import View, ViewSettings, draw_view, relight

from geoseg.models.networks import build_network

POINT_SIDE, _POINT_CENTRE, _POINT_CHIPS = 16, slice(5, 11), 2
_LARGEST_PART = 128
_FEWEST = 2000
"""A class with fewer pixels gets the weight of one with so many."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of a training run.

    Attributes:
        bands: How many of ``ground.BANDS`` the network reads, from the first.
        widths: Channels of the network's levels.
        start: Safetensors file of a network whose weights to start from; None for random ones.
        steps: Steps of the optimizer.
        side: Pixels a side of a chip.
        batch: Chips a step.
        rate: Peak of the learning rate.
        decay: Weight decay.
        average: Share of the averaged weights that is kept a step.
        soft: Share of the teacher in the target where there is a label.
        unlabelled: Weight of pixels where only the teacher says something.
        smoothing: Share of a target that is spread over all classes.
        balance: Class weights are frequencies to the power of minus this.
        even: A patch is drawn with the number of patches of its place to the power of minus this.
        dakota: Share of chips from the Landsat scene.
        points: Weight of the loss on the African points.
        without: Regions whose points are held out.
        teacher_steps: Steps in which the teacher is fitted to the patches; 0 for no teacher.
        views: How views differ from the patch.
        seed: Of everything random.
    """

    bands: int = 6
    widths: tuple[int, ...] = (16, 32, 64, 96, 128)
    start: str | None = None
    steps: int = 4500
    side: int = 64
    batch: int = 16
    rate: float = 3e-3
    decay: float = 0.05
    average: float = 0.995
    soft: float = 0.5
    unlabelled: float = 0.5
    smoothing: float = 0.05
    balance: float = 0.2
    even: float = 0.5
    dakota: float = 0.05
    points: float = 0.15
    without: tuple[str, ...] = ()
    teacher_steps: int = 130
    views: ViewSettings = field(default_factory=ViewSettings)
    seed: int = 1


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; every key is optional."""
    settings = tomllib.loads(path.read_text())
    views = ViewSettings(**settings.pop("views", {}))
    for key in ("widths", "without"):
        if key in settings:
            settings[key] = tuple(settings[key])
    return Recipe(views=views, **settings)


LOG = 50.0
"""The network reads ln(1 + 50 reflectance): clouds and sand no longer hide how water and plants differ."""
_LEAST = 1e-6


@dataclass(frozen=True)
class Norm:
    """Mean and standard deviation of the logarithms of every band, float32 (bands,)."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, patches: ground.Patches, numbers: NDArray[np.intp], bands: int) -> Norm:
        """Measure them where there is a label, which clouds have not."""
        known = patches.labels[numbers] >= 0
        seen = logarithm(torch.from_numpy(patches.values[numbers].transpose(1, 0, 2, 3)[:bands, known]))
        return cls(seen.mean(dim=1), seen.std(dim=1))

    def apply(self, values: Tensor) -> Tensor:
        """Normalise (..., bands, rows, columns); bands that the network does not read are left out."""
        bands = len(self.mean)
        seen = logarithm(values[..., :bands, :, :])
        return (seen - self.mean.view(bands, 1, 1)) / self.std.view(bands, 1, 1)


def logarithm(values: Tensor) -> Tensor:
    """Transform reflectance as the package's transform does."""
    return torch.log((LOG * values + 1).clamp(min=_LEAST))


class Batches:
    """Endless batches: normalised chips, targets, weights of pixels.

    Args:
        patches: The patches.
        numbers: Which of them train.
        soft: float16 (patches, classes, rows, columns), the teacher's probabilities; None without a teacher.
        dakota: The Landsat scene; None without it.
        norm: Normalisation.
        recipe: Settings.
    """

    def __init__(
        self,
        patches: ground.Patches,
        numbers: NDArray[np.intp],
        soft: NDArray[np.float16] | None,
        dakota: ground.LabelledScene | None,
        norm: Norm,
        recipe: Recipe,
    ) -> None:
        self.patches, self.numbers, self.soft, self.dakota = patches, numbers, soft, dakota
        self.norm, self.recipe = norm, recipe
        self.rng = np.random.default_rng(recipe.seed)
        labels = patches.labels[numbers]
        counts = np.array([(labels == index).sum() for index in range(len(ground.CLASSES))])
        weights = (np.maximum(counts, _FEWEST) / counts.sum()) ** -recipe.balance
        weights /= (weights * counts).sum() / counts.sum()
        self.class_weights = torch.tensor(weights, dtype=torch.float32)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        chances = self._chances()
        while True:
            chips = []
            for _ in range(self.recipe.batch):
                if self.dakota is not None and self.rng.random() < self.recipe.dakota:
                    chips.append(self._of_dakota(self.dakota))
                    continue
                chips.append(self._of_patch(int(self.rng.choice(self.numbers, p=chances))))
            parts = zip(
                *(self._target(draw_view(c, self.recipe.views, self.rng, self.recipe.side)) for c in chips),
                strict=True,
            )
            values, targets, weights = (torch.stack(part) for part in parts)
            yield values, targets, weights

    def _chances(self) -> NDArray[np.float64]:
        """Compute how likely each patch is drawn: else two places are a third of all."""
        _, which, counts = np.unique(
            self.patches.place[self.numbers], return_inverse=True, return_counts=True
        )
        chances = counts[which] ** -self.recipe.even
        return chances / chances.sum()

    def _of_patch(self, number: int) -> View:
        values = torch.from_numpy(self.patches.values[number])
        soft = None if self.soft is None else torch.from_numpy(self.soft[number]).float()
        labels = torch.from_numpy(self.patches.labels[number])
        return View(values, (values > -0.5).all(0), labels, soft)

    def _of_dakota(self, scene: ground.LabelledScene) -> View:
        row, col = scene.corners[self.rng.integers(len(scene.corners))]
        part = (..., slice(row, row + _LARGEST_PART), slice(col, col + _LARGEST_PART))
        values = torch.from_numpy(scene.values[part])
        return View(values, (values > -0.5).all(0), torch.from_numpy(scene.labels[part]), None)

    def _target(self, view: View) -> tuple[Tensor, Tensor, Tensor]:
        recipe, classes = self.recipe, len(ground.CLASSES)
        known, labels = view.labels >= 0, view.labels.clamp(min=0)
        target = one_hot(labels, classes).permute(2, 0, 1).float()
        weight = self.class_weights[labels] * known
        if view.soft is not None:
            mixed = (1 - recipe.soft) * target + recipe.soft * view.soft
            target = torch.where(known, mixed, view.soft)
            weight = torch.where(known, weight, torch.tensor(recipe.unlabelled))
        target = target * (1 - recipe.smoothing) + recipe.smoothing / classes
        values = self.norm.apply(view.values)
        values[:, ~view.valid] = 0
        return values, target, weight * view.valid


class PointChips:
    """Points that are crop or not, as chips of squares, each of one spectrum with a little texture.

    They go through the network beside the other chips of a batch: alone, their evenness would spoil the
    statistics of the batch normalisation.

    Args:
        points: Points of all regions that train.
        norm: Normalisation.
        recipe: Settings.
    """

    def __init__(self, points: list[ground.Points], norm: Norm, recipe: Recipe) -> None:
        self.values = np.concatenate([each.values for each in points])
        self.crop = np.concatenate([each.crop for each in points])
        self.norm, self.views, self.rng = norm, recipe.views, np.random.default_rng((recipe.seed, 1))
        self.across = recipe.side // POINT_SIDE
        inner = torch.zeros(POINT_SIDE, POINT_SIDE)
        inner[_POINT_CENTRE, _POINT_CENTRE] = 1
        self._counts = inner.repeat(self.across, self.across)

    def draw(self) -> tuple[Tensor, Tensor]:
        """Draw normalised chips (N, bands, side, side), and 1 where a pixel is crop (N, side, side)."""
        shape = (_POINT_CHIPS, self.across, self.across)
        drawn = self.rng.integers(len(self.crop), size=math.prod(shape))
        spectra = torch.from_numpy(self.values[drawn, self.rng.integers(2, size=drawn.size)])
        spectra = torch.stack([relight(each, self.views, self.rng) for each in spectra])
        chips = _as_squares(spectra.view(*shape, -1).permute(0, 3, 1, 2))
        chips = chips * (1 + torch.randn(chips.shape) * torch.rand(_POINT_CHIPS, 1, 1, 1) * 0.1)
        crop = torch.from_numpy(self.crop[drawn]).float().view(shape)
        return self.norm.apply(chips), _as_squares(crop)

    def loss(self, logits: Tensor, crop: Tensor) -> Tensor:
        """Compute the loss in the middle of every square."""
        losses = binary_cross_entropy_with_logits(crop_log_odds(logits), crop, reduction="none")
        return (losses * self._counts).sum() / (self._counts.sum() * len(logits))


def _as_squares(values: Tensor) -> Tensor:
    return values.repeat_interleave(POINT_SIDE, -2).repeat_interleave(POINT_SIDE, -1)


def as_chips(spectra: Tensor) -> Tensor:
    """Make a constant chip of every spectrum: (points, bands) to (points, bands, rows, columns)."""
    return _as_squares(spectra[..., None, None])


def crop_log_odds(logits: Tensor) -> Tensor:
    """Log odds of cropland against all other classes: (N, classes, ...) to (N, ...)."""
    index = ground.CROPLAND - 1
    others = [each for each in range(logits.shape[1]) if each != index]
    return logits[:, index] - torch.logsumexp(logits[:, others], dim=1)


def fit(recipe: Recipe, batches: Batches, points: PointChips | None, start: Path | None) -> nn.Module:
    """Train a network; returns it with its averaged weights, in evaluation mode."""
    torch.manual_seed(recipe.seed)
    widths = list(recipe.widths)
    network: nn.Module = build_network(
        "unet-classic", bands=recipe.bands, classes=len(ground.CLASSES), depth=len(widths) - 1, width=widths
    ).to(memory_format=torch.channels_last)
    if start is not None:
        load_into(network, start)
    decayed = [each for each in network.parameters() if each.ndim > 1]
    plain = [each for each in network.parameters() if each.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.decay}, {"params": plain, "weight_decay": 0.0}],
        recipe.rate,
    )
    average = {name: value.clone() for name, value in network.state_dict().items()}
    began, losses = time.monotonic(), []
    for step, (chips, targets, weights) in zip(range(recipe.steps), batches, strict=False):
        share = min(1.0, (step + 1) / (0.05 * recipe.steps))
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * share * (0.5 + 0.5 * math.cos(math.pi * step / recipe.steps) + 0.005)
        beside, crop = points.draw() if points is not None else (chips[:0], chips[:0, 0])
        every = torch.cat([chips, beside]).contiguous(memory_format=torch.channels_last)
        logits, of_points = network(every).split([len(chips), len(beside)])
        entropy = -(targets * log_softmax(logits, dim=1)).sum(dim=1)
        loss = (entropy * weights).sum() / weights.sum()
        if points is not None:
            loss = loss + recipe.points * points.loss(of_points, crop)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        kept = min(recipe.average, (step + 1) / (step + 10))
        for name, value in network.state_dict().items():
            average[name] = average[name] * kept + value * (1 - kept) if value.is_floating_point() else value
        if step % 100 == 0 or step == recipe.steps - 1:
            print(
                f"step {step}: loss {np.mean(losses[-100:]):.3f}, {time.monotonic() - began:.0f} s",
                flush=True,
            )
    network.load_state_dict(average)
    return network.eval()


def save(network: nn.Module, norm: Norm, run: Path, facts: dict[str, str]) -> None:
    """Write ``network.safetensors``: weights, normalisation, and how they were trained."""
    tensors = {**network.state_dict(), "norm.mean": norm.mean, "norm.std": norm.std}
    save_file({name: each.contiguous() for name, each in tensors.items()}, run / "network.safetensors", facts)


def load_into(network: nn.Module, path: Path) -> None:
    """Load weights; of a network that reads more bands the first are taken."""
    weights = load_file(path)
    for name, value in network.state_dict().items():
        if weights[name].shape != value.shape:
            weights[name] = weights[name][:, : value.shape[1]].contiguous()
    network.load_state_dict(weights)


def main() -> None:
    """Train the teacher, then the network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--recipe", type=Path, default=Path(__file__).with_name("recipe.toml"))
    parser.add_argument("--fold", type=int)
    options = parser.parse_args()
    recipe, run = read_recipe(options.recipe), options.run
    run.mkdir(parents=True, exist_ok=True)
    patches = ground.read_patches(options.data)
    numbers = patches.training(options.fold)
    soft = None
    if recipe.teacher_steps:
        file = run / "teacher.npy"
        if not file.exists():
            np.save(file, teacher.teach(options.data, patches, numbers, recipe.teacher_steps, recipe.views))
        soft = np.load(file)
    norm = Norm.of(patches, numbers, recipe.bands)
    dakota = ground.read_dakota(options.data) if recipe.dakota else None
    names = [name for name in ground.REGIONS if name not in recipe.without]
    regions = [ground.read_points(options.data, name) for name in names]
    points = PointChips(regions, norm, recipe) if recipe.points else None
    start = None if recipe.start is None else options.recipe.parent / recipe.start
    network = fit(recipe, Batches(patches, numbers, soft, dakota, norm, recipe), points, start)
    facts = {"fold": str(options.fold), "recipe": str(asdict(recipe))}
    save(network, norm, run, facts)


if __name__ == "__main__":
    main()
