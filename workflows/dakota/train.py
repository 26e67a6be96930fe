"""Train a network of segmentation_models_pytorch on the training blocks of the dakota scene.

The time is given, not the number of steps: the learning rate follows the share of the time that has passed,
so the run ends when it should on a busy machine too. Every few minutes the averaged weights are scored on
the validation blocks, and the best are kept in the output folder.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch
from blend import ChipGrid, blend, chip_logits
from chips import ChipSampler
from dakota import BANDS, CLASSES, SCALE, Scene, Split, band_statistics, load_scene, load_split
from metrics import confusion, summarise
from numpy.typing import NDArray
from safetensors.torch import save_file

ARCHITECTURE = {
    "arch": "Unet",
    "encoder_name": "tu-resnet18",
    "encoder_depth": 4,
    "encoder_weights": None,
    "decoder_channels": [128, 96, 64, 32],
    "in_channels": len(BANDS),
    "classes": len(CLASSES),
}


def class_weights(labels: NDArray[np.uint8], power: float) -> torch.Tensor:
    """Frequency to the power of -`power`, scaled so that the mean weight of a pixel is 1."""
    share = np.bincount(labels.ravel(), minlength=10)[1:10] / np.count_nonzero(labels)
    weights = share**-power
    return torch.tensor(weights / (weights * share).sum(), dtype=torch.float32)


def loss_of(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, dice: float) -> torch.Tensor:
    """Weighted cross-entropy with smoothed labels, plus `dice` times the dice loss of the classes present."""
    entropy = torch.nn.functional.cross_entropy(
        logits, labels, weight=weights, ignore_index=-1, label_smoothing=0.05
    )
    known = labels >= 0
    one_hot = torch.nn.functional.one_hot(labels.clamp(min=0), logits.shape[1])
    one_hot = one_hot.movedim(-1, 1) * known[:, None]
    probabilities = logits.softmax(dim=1) * known[:, None]
    both = (probabilities * one_hot).sum(dim=(0, 2, 3))
    each = probabilities.sum(dim=(0, 2, 3)) + one_hot.sum(dim=(0, 2, 3))
    present = one_hot.sum(dim=(0, 2, 3)) > 0
    return entropy + dice * (1 - 2 * both[present] / each[present]).mean()


def learning_rate(progress: float, peak: float, warm_up: float = 0.04) -> float:
    """Linear rise over the first `warm_up` of the time, then half a cosine down to 1 % of the peak."""
    if progress < warm_up:
        return peak * max(progress / warm_up, 0.02)
    share = min(1.0, (progress - warm_up) / (1 - warm_up))
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


class AveragedWeights:
    """Exponential moving average of a network's parameters and buffers, with a short memory at first."""

    def __init__(self, network: torch.nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: torch.nn.Module) -> None:
        """Move the average a little towards the network."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)


def validate(network: torch.nn.Module, scene: Scene, split: Split, norm: dict[str, Any]) -> dict[str, Any]:
    """Scores on the validation blocks with chips of 512 that overlap by 64."""
    network.eval()
    shape = scene.labels.shape
    wanted = split.mask("validation", shape) & (scene.labels > 0)
    grid = ChipGrid(shape, 512, 64)
    chips = chip_logits(network, scene, wanted, grid, norm["mean"], norm["std"])
    predicted = blend(chips, grid, wanted, len(CLASSES)).argmax(axis=1) + 1
    return summarise(confusion(scene.labels[wanted], predicted.astype(np.uint8)))


class Run:
    """One training run: the network, its averaged weights, the chips and what has been seen so far.

    Args:
        args: the command line, parsed.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.scene, self.split = args, load_scene(args.data), load_split()
        shape = self.scene.labels.shape
        where = self.split.mask("train", shape) & self.split.training_mask(shape)
        mean, std = band_statistics(self.scene, where)
        self.norm = {"bands": list(BANDS), "scale": SCALE, "mean": mean, "std": std}
        self.sampler = ChipSampler(self.scene, self.split, mean, std, args.chip_size, args.seed)
        self.weights = class_weights(self.sampler.labels, args.weight_power)
        self.architecture = json.loads(args.architecture) if args.architecture else ARCHITECTURE
        self.network, self.averaged_network = (
            smp.create_model(**self.architecture).to(memory_format=torch.channels_last) for _ in range(2)
        )
        self.averaged = AveragedWeights(self.network, args.decay)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), args.rate, weight_decay=args.weight_decay
        )
        self.steps, self.pixels, self.best = 0, 0, -1.0

    def step(self, rate: float) -> float:
        """Learn from one batch at the given learning rate; returns the loss."""
        self.network.train()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        images, labels = self.sampler.batch(self.args.batch_size)
        chips = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.network(chips)
        loss = loss_of(logits.float(), torch.from_numpy(labels), self.weights, self.args.dice)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.averaged.update(self.network)
        self.steps, self.pixels = self.steps + 1, self.pixels + int((labels >= 0).sum())
        return loss.item()

    def check(self, minutes: float, loss: float) -> None:
        """Score the averaged weights on the validation blocks; save them if they are the best so far."""
        self.averaged_network.load_state_dict(self.averaged.state)
        scores = validate(self.averaged_network, self.scene, self.split, self.norm)
        ious = " ".join(f"{each['iou']:.2f}" for each in scores["classes"].values())
        figures = f"accuracy {scores['accuracy']:.4f}, mIoU {scores['miou']:.4f}, {ious}"
        print(f"{minutes:5.1f} min, step {self.steps}, loss {loss:.4f}, {figures}", flush=True)
        if scores["accuracy"] + scores["miou"] > self.best:
            self.best = scores["accuracy"] + scores["miou"]
            self.save(minutes, scores)

    def save(self, minutes: float, scores: dict[str, Any]) -> None:
        """Write the averaged weights and what is known about them."""
        folder = self.args.output
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.contiguous() for name, value in self.averaged.state.items()}
        save_file(state, folder / "model.safetensors")
        settings = {k: v for k, v in vars(self.args).items() if k not in ("data", "output", "architecture")}
        facts = {
            "architecture": self.architecture,
            "normalisation": self.norm,
            "validation": scores,
            "training": {
                "minutes_done": round(minutes, 1),
                "steps": self.steps,
                "chips": self.steps * self.args.batch_size,
                "labelled_pixels_seen": self.pixels,
                "epochs": round(self.pixels / np.count_nonzero(self.sampler.labels), 1),
                "class_weights": [round(float(weight), 4) for weight in self.weights],
                **settings,
                "versions": {"torch": torch.__version__, "segmentation_models_pytorch": smp.__version__},
            },
        }
        for name, content in facts.items():
            (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def train(args: argparse.Namespace) -> None:
    """Train for the given time."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    run = Run(args)
    start, next_check, losses = time.monotonic(), args.check_minutes, []
    while (minutes := (time.monotonic() - start) / 60) < args.minutes:
        losses.append(run.step(learning_rate(minutes / args.minutes, args.rate)))
        if minutes >= next_check:
            run.check(minutes, float(np.mean(losses)))
            next_check, losses = minutes + args.check_minutes, []
    run.check(minutes, float(np.mean(losses)) if losses else float("nan"))


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with scene.tif and classes.tif")
    parser.add_argument("output", type=Path, help="folder for the best weights and their figures")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--check-minutes", type=float, default=3, help="between two validations")
    parser.add_argument("--architecture", help="JSON with the arguments of smp.create_model")
    parser.add_argument("--chip-size", type=int, default=192)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-3, help="peak of the learning rate")
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--weight-power", type=float, default=0.25, help="class weight = frequency ** -power")
    parser.add_argument("--dice", type=float, default=0.5, help="share of the dice loss")
    parser.add_argument("--decay", type=float, default=0.998, help="of the averaged weights")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
