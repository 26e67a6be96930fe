"""The run's parts: steps, batches, scores, calibration, curves."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import torch

from geoseg.classes import IGNORE
from geoseg.models import architectures, build_network
from geoseg.training.chips.loading import EpochSampler
from geoseg.training.network.history import Epoch, draw_curves, kept_epoch, write_history
from geoseg.training.network.losses import build_loss
from geoseg.training.network.module import TrainingModule, save_weights
from geoseg.training.network.schedules import RateSchedule
from geoseg.training.recipe.settings import (
    LossSettings,
    RunSettings,
    ScheduleSettings,
    TransferSettings,
)

ENCODERS = {"unet-classic": None, "dynamic-world": None, "dpt": "tu-vit_tiny_patch16_224"}


def make_module(tmp_path, architecture="unet-classic", transfer=None, run=None, classes=3, **options):
    torch.manual_seed(0)
    if architecture == "unet-classic":
        options |= {"depth": 2, "width": 4}
    network = build_network(
        architecture, encoder=ENCODERS.get(architecture, "resnet18"), bands=4, classes=classes, **options
    )
    return TrainingModule(
        network,
        build_loss(LossSettings(), None),
        RateSchedule(ScheduleSettings(name="constant", warmup=0.0), 10),
        run or RunSettings(),
        transfer or TransferSettings(),
        seed=0,
        kept=tmp_path / "kept.safetensors",
    )


def a_batch(classes=3, size=64, count=2):
    """Chips whose bands tell their classes."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, classes, (count, size // 16, size // 16), generator=generator)
    labels = labels.repeat_interleave(16, 1).repeat_interleave(16, 2)
    chips = torch.randn(count, 4, size, size, generator=generator) * 0.3
    chips[:, 0] += labels
    labels[0, :5] = IGNORE
    return chips, labels.to(torch.uint8)


@pytest.mark.parametrize("architecture", architectures())
def test_every_architecture_trains_two_steps_and_its_loss_falls(tmp_path, architecture):
    module = make_module(tmp_path, architecture)
    size = 256 if architecture == "pan" else 64
    batch = a_batch(size=size)
    optimiser = torch.optim.SGD(module.parameters(), 1e-4)
    losses = []
    for _ in range(3):
        torch.manual_seed(0)  # the same dropout each time
        loss = module.training_step(batch, 0)
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[2] < losses[1] < losses[0]


def test_labels_stay_integers_up_to_the_loss(tmp_path):
    module = make_module(tmp_path)
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, logits, labels):
            seen.append((logits.dtype, labels.dtype))
            return logits.sum()

    module.loss = Spy()
    module.training_step(a_batch(), 0)
    assert seen == [(torch.float32, torch.int64)]


def test_the_encoder_learns_slower_and_vectors_do_not_decay(tmp_path):
    module = make_module(tmp_path, transfer=TransferSettings(encoder_rate=0.1), run=RunSettings(rate=0.01))
    groups = module.configure_optimizers().param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert len(rates) == len(list(module.parameters()))
    for name, parameter in module.network.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.001 if name.startswith("down") else 0.01)
        assert decays[id(parameter)] == (0.05 if parameter.ndim > 1 else 0.0)


def test_a_network_of_less_resolution_is_brought_to_the_labels(tmp_path):
    module = make_module(tmp_path)
    whole = module.network

    class Coarse(torch.nn.Module):
        def forward(self, chips):
            return torch.nn.functional.avg_pool2d(whole(chips), 4)

    module.network = Coarse()
    assert module._forward(a_batch())[0].shape == (2, 3, 64, 64)


class TestSampler:
    def test_epochs_go_on_where_the_last_ended(self):
        sampler = EpochSampler(12)
        numbers = []
        for epoch in range(3):
            sampler.set_epoch(epoch)
            numbers += list(sampler)
        assert numbers == list(range(36))

    @pytest.mark.parametrize("world", [2, 3])
    def test_processes_share_an_epoch(self, world):
        samplers = [EpochSampler(12, rank, world) for rank in range(world)]
        for sampler in samplers:
            sampler.set_epoch(5)
        numbers = [list(sampler) for sampler in samplers]
        assert sorted(number for part in numbers for number in part) == list(range(60, 72))
        assert {len(part) for part in numbers} == {12 // world} == {len(sampler) for sampler in samplers}


def epochs(scores):
    return [
        Epoch(i, 10 * i, 1e-3, 1 / (i + 1), 1.1 / (i + 1), s, s / 2, 0.1, 2.5) for i, s in enumerate(scores)
    ]


def test_the_best_epoch_is_the_latest_of_equals():
    assert kept_epoch(epochs([0.2, 0.6, 0.4, 0.6, 0.1]), "best").epoch == 3


def test_the_last_epoch_is_kept_if_asked_for_or_nothing_validates():
    assert kept_epoch(epochs([0.2, 0.6, 0.4]), "last").epoch == 2
    assert kept_epoch(epochs([math.nan] * 3), "best").epoch == 2


def test_history_is_written_as_csv_and_png(tmp_path):
    from PIL import Image

    history = epochs([0.2, 0.6])
    write_history(tmp_path, history, [[0.1, math.nan], [0.5, 0.7]], ["corn", "grass"])
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert [float(row["accuracy"]) for row in rows] == [0.2, 0.6]
    assert float(rows[1]["iou grass"]) == 0.7
    draw_curves(tmp_path / "curves.png", history)
    pixels = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB"))
    assert pixels.shape[1] > 1000
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_history_without_validation(tmp_path):
    history = epochs([math.nan, math.nan])
    write_history(tmp_path, history, [[], []], ["corn", "grass"])
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert math.isnan(float(rows[1]["iou grass"]))
    assert float(rows[1]["train_loss"]) == 0.5
    draw_curves(tmp_path / "curves.png", history)
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_weights_are_kept_as_safetensors(tmp_path):
    from safetensors.torch import load_file

    network = build_network("unet-classic", bands=4, classes=3, depth=1, width=2)
    save_weights(network, tmp_path / "w.safetensors")
    kept = load_file(tmp_path / "w.safetensors")
    assert set(kept) == set(network.state_dict())
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]
