"""Every loss keeps the same contract and agrees with a computation by hand in numpy."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax

from geoseg.classes import IGNORE
from geoseg.training.network.losses import LearnedSum, WeightedSum, build_loss, make_loss
from geoseg.training.prepare import class_weights
from geoseg.training.recipe.example import example
from geoseg.training.recipe.settings import LOSSES, LossSettings, LossTerm

CLASSES = 4
WEIGHTS = np.array([0.5, 2.0, 1.0, 0.25], np.float32)


def make(name, learned=False, weights=None, **options):
    terms = tuple(LossTerm(name=one, **options) for one in name.split("+"))
    tensor = None if weights is None else torch.from_numpy(weights)
    return build_loss(LossSettings(terms=terms, learned=learned), tensor)


EVERY = [
    *(pytest.param(lambda name=name: make(name), id=name) for name in LOSSES),
    *(pytest.param(lambda name=name: make(name, weights=WEIGHTS), id=f"{name}-weighted") for name in LOSSES),
    pytest.param(lambda: make("cross_entropy", smoothing=0.1), id="smoothed"),
    pytest.param(lambda: make("focal", gamma=0.5), id="focal-half"),
    pytest.param(lambda: make("cross_entropy+dice+lovasz"), id="sum"),
    pytest.param(lambda: make("cross_entropy+dice", learned=True), id="learned"),
]


@pytest.mark.parametrize("name", LOSSES)
def test_users_read_of_it(name):
    assert f"`{name}`" in (Path(__file__).parents[3] / "docs" / "train.md").read_text("utf-8")
    assert re.search(rf"^terms = .*  # .*\b{name}\b", example(), re.MULTILINE)


def batch(seed=0, ignored=0.3):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (2, CLASSES, 6, 5)).astype(np.float32)
    labels = rng.integers(0, CLASSES, (2, 6, 5))
    labels[rng.random(labels.shape) < ignored] = IGNORE
    return logits, labels


def run(loss, logits, labels):
    logits = torch.tensor(logits, requires_grad=True)
    value = loss(logits, torch.tensor(labels))
    value.backward()
    return value.item(), logits.grad.numpy()


@pytest.mark.parametrize("loss", EVERY)
def test_ignored_pixels_change_nothing(loss):
    logits, labels = batch()
    changed = np.where((labels == IGNORE)[:, None], 37.0, logits).astype(np.float32)
    value, gradient = run(loss(), logits, labels)
    other, other_gradient = run(loss(), changed, labels)
    assert value == other
    np.testing.assert_array_equal(gradient, other_gradient)
    ignored = np.broadcast_to((labels == IGNORE)[:, None], logits.shape)
    assert ignored.any()
    assert not gradient[ignored].any()
    assert gradient[~ignored].any()


@pytest.mark.parametrize("loss", EVERY)
def test_a_batch_without_labels_is_harmless(loss):
    logits, labels = batch()
    value, gradient = run(loss(), logits, np.full_like(labels, IGNORE))
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("loss", EVERY)
def test_extreme_logits_stay_finite(loss):
    logits, labels = batch()
    value, gradient = run(loss(), logits * 1e4, labels)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("loss", EVERY)
def test_a_perfect_prediction_is_near_the_minimum(loss):
    logits, labels = batch()
    truth = np.where(labels == IGNORE, 0, labels)
    perfect = 8 * (2 * np.eye(CLASSES, dtype=np.float32)[truth].transpose(0, 3, 1, 2) - 1)
    best, _ = run(loss(), perfect, labels)
    wrong, _ = run(loss(), -perfect, labels)
    random, _ = run(loss(), logits, labels)
    assert best < random < wrong


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "lovasz"])
def test_a_perfect_prediction_costs_nothing(name):
    labels = batch(ignored=0.2)[1]
    truth = np.where(labels == IGNORE, 0, labels)
    perfect = 100 * (2 * np.eye(CLASSES, dtype=np.float32)[truth].transpose(0, 3, 1, 2) - 1)
    assert run(make(name), perfect, labels)[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", EVERY)
def test_descent_lowers_the_loss(loss):
    logits, labels = batch()
    module = loss()
    value, gradient = run(module, logits, labels)
    lower, _ = run(module, logits - 0.05 * gradient, labels)
    assert lower < value


def by_hand(logits, labels):
    """Labelled pixels as (pixels, classes) float64, and their classes."""
    known = labels != IGNORE
    return logits.transpose(0, 2, 3, 1)[known].astype(np.float64), labels[known]


def test_cross_entropy_by_hand():
    x, y = by_hand(*batch())
    expected = -log_softmax(x, axis=1)[np.arange(len(y)), y]
    assert run(make("cross_entropy"), *batch())[0] == pytest.approx(expected.mean(), rel=1e-5)
    weighted = (expected * WEIGHTS[y]).sum() / WEIGHTS[y].sum()
    assert run(make("cross_entropy", weights=WEIGHTS), *batch())[0] == pytest.approx(weighted, rel=1e-5)


def test_smoothed_cross_entropy_agrees_with_torch():
    logits, labels = (torch.tensor(array) for array in batch())
    expected = torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORE, label_smoothing=0.2)
    assert make_loss(LossTerm(name="cross_entropy", smoothing=0.2))(logits, labels).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_focal_by_hand():
    x, y = by_hand(*batch())
    p = softmax(x, axis=1)[np.arange(len(y)), y]
    for gamma in (0.0, 0.5, 2.0):
        expected = (-((1 - p) ** gamma) * np.log(p)).mean()
        assert run(make("focal", gamma=gamma), *batch())[0] == pytest.approx(expected, rel=1e-5)


def test_binary_cross_entropy_by_hand():
    x, y = by_hand(*batch())
    truth = np.eye(CLASSES)[y]
    expected = -(truth * np.log(expit(x)) + (1 - truth) * np.log(expit(-x))).mean()
    assert run(make("bce"), *batch())[0] == pytest.approx(expected, rel=1e-5)


def overlap(p, y, alpha, beta):
    losses = []
    for value in np.unique(y):
        truth = y == value
        tp = p[truth, value].sum()
        fp, fn = p[~truth, value].sum(), (1 - p[truth, value]).sum()
        losses.append(1 - tp / (tp + alpha * fp + beta * fn))
    return np.mean(losses)


@pytest.mark.parametrize(
    ("name", "alpha", "beta"), [("dice", 0.5, 0.5), ("jaccard", 1, 1), ("tversky", 0.3, 0.7)]
)
def test_overlap_losses_by_hand(name, alpha, beta):
    x, y = by_hand(*batch())
    assert run(make(name), *batch())[0] == pytest.approx(
        overlap(softmax(x, axis=1), y, alpha, beta), rel=1e-5
    )


def test_dice_agrees_with_smp():
    from segmentation_models_pytorch.losses import DiceLoss, JaccardLoss

    logits, labels = (torch.tensor(array) for array in batch(ignored=0.0))
    for name, reference in (("dice", DiceLoss), ("jaccard", JaccardLoss)):
        expected = reference("multiclass")(logits, labels)
        assert make_loss(LossTerm(name=name))(logits, labels).item() == pytest.approx(
            expected.item(), rel=1e-5
        )


def test_absent_classes_do_not_count_in_overlap_losses():
    logits, labels = batch()
    labels[labels == 3] = IGNORE
    x, y = by_hand(logits, labels)
    assert run(make("dice"), logits, labels)[0] == pytest.approx(
        overlap(softmax(x, axis=1), y, 0.5, 0.5), rel=1e-5
    )


def test_bce_dice_by_hand():
    x, y = by_hand(*batch())
    truth = np.eye(CLASSES)[y]
    bce = -(truth * np.log(expit(x)) + (1 - truth) * np.log(expit(-x))).mean()
    expected = bce + overlap(expit(x), y, 0.5, 0.5)
    assert run(make("bce_dice"), *batch())[0] == pytest.approx(expected, rel=1e-5)


def test_lovasz_by_hand():
    x, y = by_hand(*batch())
    p = softmax(x, axis=1)
    losses = []
    for value in np.unique(y):
        truth = (y == value).astype(float)
        errors = np.abs(truth - p[:, value])
        order = np.argsort(-errors)
        # The Lovasz extension: errors weighted by how much each next error lowers the Jaccard index.
        total, previous = 0.0, 0.0
        for k in range(len(order)):
            wrong = order[: k + 1]
            intersection = truth.sum() - truth[wrong].sum()
            union = truth.sum() + (1 - truth[wrong]).sum()
            now = 1 - intersection / union
            total += errors[order[k]] * (now - previous)
            previous = now
        losses.append(total)
    assert run(make("lovasz"), *batch())[0] == pytest.approx(np.mean(losses), rel=1e-4)


def test_sums_are_weighted():
    first, second = make_loss(LossTerm(name="cross_entropy")), make_loss(LossTerm(name="dice"))
    logits, labels = (torch.tensor(array) for array in batch())
    expected = 2 * first(logits, labels) + 0.5 * second(logits, labels)
    assert WeightedSum([(first, 2.0), (second, 0.5)])(logits, labels).item() == pytest.approx(expected.item())


def test_learned_weights_settle_where_kendall_says():
    """With losses held fixed, the optimum of exp(-s) L + s / 2 is s = log(2 L)."""
    logits, labels = (torch.tensor(array) for array in batch())
    loss = LearnedSum(
        [(make_loss(LossTerm(name="cross_entropy")), 1.0), (make_loss(LossTerm(name="dice")), 1.0)]
    )
    optimiser = torch.optim.Adam(loss.parameters(), 0.05)
    for _ in range(400):
        optimiser.zero_grad()
        loss(logits, labels).backward()
        optimiser.step()
    expected = [float(np.log(2 * term(logits, labels).item())) for term in loss.terms]
    np.testing.assert_allclose(loss.log_variances.detach().numpy(), expected, atol=1e-2)


class TestWeights:
    counts = np.array([100, 300, 0, 600])
    shares = np.array([0.2, 0.3, 0.0, 0.6])

    def weights(self, method, **options):
        return class_weights(method, self.counts, self.shares, **options)

    def test_none(self):
        assert self.weights("none") is None

    @pytest.mark.parametrize("method", ["inverse", "median", "effective"])
    def test_the_mean_weight_of_a_pixel_is_one_and_absent_classes_weigh_nothing(self, method):
        weights = self.weights(method)
        assert (weights * self.counts).sum() / self.counts.sum() == pytest.approx(1)
        assert weights[2] == 0
        assert weights[0] > weights[1] > weights[3] > 0
        assert weights.dtype == np.float32

    def test_inverse(self):
        weights = self.weights("inverse")
        assert weights[0] / weights[3] == pytest.approx(6)

    def test_median(self):
        weights = self.weights("median")
        assert weights[0] / weights[3] == pytest.approx(3)

    def test_effective(self):
        weights = self.weights("effective", beta=0.99)
        expected = (1 - 0.99**600) / (1 - 0.99**100)
        assert weights[0] / weights[3] == pytest.approx(expected)

    def test_effective_without_beta_weighs_all_the_same(self):
        assert self.weights("effective", beta=0.0)[[0, 1, 3]] == pytest.approx([1, 1, 1])

    def test_manual(self):
        assert self.weights("manual", manual={1: 3.0}).tolist() == [1, 3, 1, 1]
