"""Scores of a confusion matrix against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from geoseg.assess.scores import number, score


@settings(max_examples=60, deadline=None)
@given(
    labels=arrays(np.int64, 300, elements=st.integers(0, 4)),
    mapped=arrays(np.int64, 300, elements=st.integers(0, 5)),
)
def test_scores_agree_with_scikit_learn(labels, mapped):
    found = score(metrics.confusion_matrix(labels, mapped, labels=range(7)))
    present = sorted(set(labels) | set(mapped))
    missing = [i for i in range(7) if i not in present]
    options = {"labels": present, "average": None, "zero_division": 0}
    expected = {
        "iou": metrics.jaccard_score(labels, mapped, **options),
        "precision": metrics.precision_score(labels, mapped, **options),
        "recall": metrics.recall_score(labels, mapped, **options),
        "f1": metrics.f1_score(labels, mapped, **options),
    }
    for name, values in expected.items():
        mine = getattr(found, name)
        np.testing.assert_allclose(np.nan_to_num(mine[present]), values, atol=1e-12)
        assert np.isnan(mine[missing]).all()
    assert found.accuracy == pytest.approx(metrics.accuracy_score(labels, mapped))
    assert found.miou == pytest.approx(expected["iou"].mean())
    assert found.mean_f1 == pytest.approx(expected["f1"].mean())
    weighted = metrics.jaccard_score(labels, mapped, average="weighted", zero_division=0)
    assert found.fwiou == pytest.approx(weighted)


def test_by_hand():
    found = score(np.array([[8, 2, 0], [1, 5, 0], [0, 4, 0]]))
    assert found.accuracy == pytest.approx(13 / 20)
    np.testing.assert_allclose(found.iou, [8 / 11, 5 / 12, 0])
    np.testing.assert_allclose(found.precision, [8 / 9, 5 / 11, np.nan])
    np.testing.assert_allclose(found.recall, [0.8, 5 / 6, 0])
    np.testing.assert_allclose(found.f1, [16 / 19, 10 / 17, 0])
    assert found.miou == pytest.approx((8 / 11 + 5 / 12) / 3)
    assert found.fwiou == pytest.approx((10 * 8 / 11 + 6 * 5 / 12) / 20)


@pytest.mark.parametrize("background", ["one of the classes", "no label"])
def test_a_map_of_nothing_but_background_scores_near_zero(background):
    """Nine classes of equal size; the map shows only one, or something that no label is."""
    matrix = np.zeros((10, 10))
    matrix[1:, 1 if background == "one of the classes" else 0] = 1000
    found = score(matrix)
    assert found.miou < 0.02
    assert found.accuracy < 0.12


def test_an_absent_class_does_not_poison_the_mean():
    matrix = np.array([[90, 10], [20, 80]])
    wide = np.zeros((4, 4), int)
    wide[np.ix_([0, 3], [0, 3])] = matrix
    small, large = score(matrix), score(wide)
    assert (small.miou, small.mean_f1, small.fwiou) == (large.miou, large.mean_f1, large.fwiou)
    assert np.isnan(large.iou[1])
    assert number(large.iou[1]) is None


def test_a_class_that_the_map_invents_counts_as_zero():
    assert score(np.array([[90, 10], [0, 0]])).miou == pytest.approx(0.45)


def test_many_matrices_at_once():
    many = np.random.default_rng(0).integers(0, 50, (5, 3, 4, 4))
    many[2, 1] = 0
    together = score(many)
    for i in np.ndindex(5, 3):
        alone = score(many[i])
        for name in ("accuracy", "miou", "fwiou", "mean_f1", "iou", "precision", "recall", "f1"):
            np.testing.assert_array_equal(getattr(together, name)[i], getattr(alone, name))
    assert np.isnan(together.miou[2, 1])
