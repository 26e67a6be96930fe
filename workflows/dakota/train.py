"""Train a network of segmentation_models_pytorch on the training blocks of the dakota scene.

The time is given, not the number of steps: the learning rate follows the share of the time that has passed, so the
run ends when it should on a busy machine too. Every few minutes the averaged weights are scored on the validation
blocks, and the best are kept in the output folder.
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
from dakota import BANDS, CLASSES, Scene, Split, band_statistics, load_scene, load_split
from metrics import confusion, summarise
from numpy.typing import NDArray
from safetensors.torch import save_file

ARCHITECTURE = {
    "arch": "Unet",
    "encoder_name": "efficientnet-b0",
    "encoder_depth": 5,
    "encoder_weights": None,
    "decoder_channels": [128, 64, 48, 32, 16],
    "in_channels": len(BANDS),
    "classes": len(CLASSES),
}


def class_weights(labels: NDArray[np.uint8], power: float) -> torch.Tensor:
    """Frequency to the power of -`power`, scaled so that the mean weight of a pixel is 1."""
    share = np.bincount(labels.ravel(), minlength=10)[1:10] / np.count_nonzero(labels)
    weights = share**-power
    return torch.tensor(weights / (weights * share).sum(), dtype=torch.float32)


def loss_of(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, dice: float) -> torch.Tensor:
    """Weighted cross-entropy with smoothed labels, plus `dice` times the soft dice loss of the classes present."""
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
    """Linear rise over the first `warm_up` of the time, then half a cosine down to a hundredth of the peak."""
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


def save(folder: Path, state: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """Write the weights and what is known about them."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "model.safetensors")
    for name in ("architecture", "normalisation", "training", "validation"):
        (folder / f"{name}.json").write_text(json.dumps(facts[name], indent=1) + "\n")


def train(args: argparse.Namespace) -> None:
    """Run the training loop for the given time."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    scene, split = load_scene(args.data), load_split()
    where = split.mask("train", scene.labels.shape) & split.training_mask(scene.labels.shape)
    mean, std = band_statistics(scene, where)
    norm = {"bands": list(BANDS), "scale": 0.0001, "mean": mean, "std": std}
    sampler = ChipSampler(scene, split, mean, std, args.chip_size, args.seed)
    weights = class_weights(sampler.labels, args.weight_power)
    architecture = json.loads(args.architecture) if args.architecture else ARCHITECTURE
    network = smp.create_model(**architecture).to(memory_format=torch.channels_last)
    averaged_network = smp.create_model(**architecture).to(memory_format=torch.channels_last)
    averaged = AveragedWeights(network, args.decay)
    optimiser = torch.optim.AdamW(network.parameters(), lr=args.rate, weight_decay=args.weight_decay)

    start, next_check, best, step, pixels, losses = time.monotonic(), args.check_minutes, -1.0, 0, 0, []
    while True:
        minutes = (time.monotonic() - start) / 60
        if minutes >= next_check or minutes >= args.minutes:
            next_check = minutes + args.check_minutes
            averaged_network.load_state_dict(averaged.state)
            scores = validate(averaged_network, scene, split, norm)
            ious = " ".join(f"{each['iou']:.2f}" for each in scores["classes"].values())
            print(
                f"{minutes:5.1f} min, step {step}, loss {np.mean(losses):.4f}, "
                f"accuracy {scores['accuracy']:.4f}, mIoU {scores['miou']:.4f}, {ious}",
                flush=True,
            )
            losses = []
            if scores["accuracy"] + scores["miou"] > best:
                best = scores["accuracy"] + scores["miou"]
                facts = {
                    "minutes": round(minutes, 1),
                    "steps": step,
                    "chips": step * args.batch_size,
                    "labelled_pixels_seen": pixels,
                    "epochs": round(pixels / int((sampler.labels > 0).sum()), 1),
                    "class_weights": [round(float(w), 4) for w in weights],
                    "torch": torch.__version__,
                    "smp": smp.__version__,
                    **{k: v for k, v in vars(args).items() if k not in ("data", "output", "architecture")},
                }
                found = {"architecture": architecture, "normalisation": norm, "training": facts}
                save(args.output, averaged.state, {**found, "validation": scores})
            if minutes >= args.minutes:
                return
        network.train()
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(minutes / args.minutes, args.rate)
        images, labels = sampler.batch(args.batch_size)
        pixels += int((labels >= 0).sum())
        chips = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(chips)
        loss = loss_of(logits.float(), torch.from_numpy(labels), weights, args.dice)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        averaged.update(network)
        losses.append(loss.item())
        step += 1


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with scene.tif and classes.tif")
    parser.add_argument("output", type=Path, help="folder for the best weights and their figures")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--check-minutes", type=float, default=3, help="between two looks at the validation blocks")
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
