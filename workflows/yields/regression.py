"""From the season of a field to its yield: candidates, and a cross-validation that holds out whole districts.

Neighbouring fields share weather, soil and farmers. A model that may learn from the field next door looks
better than it is where no yield is known at all, so whole districts are held out. The candidates are tried
inside of what is left (nested), so the error also holds the choice among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

BASELINES = ("mean", "linear")
FOLDS = 5
LEAST_GROUPS = 3


@dataclass(frozen=True)
class Training:
    """Fields whose yield is known.

    Attributes:
        features: (fields, features), without nulls.
        yields: (fields,).
        weights: (fields,), how much each counts: its confidence.
        groups: (fields,), its district.
    """

    features: pd.DataFrame
    yields: NDArray[np.float64]
    weights: NDArray[np.float64]
    groups: NDArray[np.object_]

    def take(self, rows: NDArray[Any]) -> Training:
        """Some of the fields."""
        return Training(self.features.iloc[rows], self.yields[rows], self.weights[rows], self.groups[rows])


@dataclass(frozen=True)
class CrossValidation:
    """What every model says of fields it has not seen.

    Attributes:
        folds: (fields,) the fold in which each was held out.
        held_out: Model -> (fields,) forecasts; ``auto`` is the model chosen without the fold.
        chosen: The model ``auto`` chose in each fold.
        models: The fitted model of each fold, as ``auto`` chose it.
        final: The model that is best over all folds, and its name, fitted to all fields.
        name: Its name.
    """

    folds: NDArray[np.intp]
    held_out: dict[str, NDArray[np.float64]]
    chosen: list[str]
    models: list[Any]
    final: Any
    name: str
    scores: dict[str, dict[str, float]] = field(default_factory=dict)


def candidates(features: Sequence[str]) -> dict[str, Any]:
    """The models to choose from; the first two are baselines.

    ``mean``: the mean of the known yields. ``linear``: a straight line through the integral of the first
        index (NDVI
    where the scenes have it). ``ridge``: linear in all features. ``trees``: extremely randomised trees
    (Geurts et al. 2006).
    """
    one = next(name for name in features if name.endswith("_integral"))
    only = ColumnTransformer([("one", "passthrough", [one])])
    return {
        "mean": DummyRegressor(),
        "linear": Pipeline([("only", only), ("model", LinearRegression())]),
        "ridge": Pipeline([("scale", StandardScaler()), ("model", RidgeCV(np.logspace(-2, 3, 11)))]),
        "trees": ExtraTreesRegressor(100, min_samples_leaf=3, random_state=0),
    }


def fit(model: Any, data: Training) -> Any:
    """A fitted copy; confident fields count more."""
    key = "model__sample_weight" if isinstance(model, Pipeline) else "sample_weight"
    return clone(model).fit(data.features, data.yields, **{key: data.weights})


def fold_numbers(groups: NDArray[np.object_]) -> NDArray[np.intp]:
    """The fold that holds each field out; a district is never in two. (fields,)."""
    folds = np.empty(len(groups), np.intp)
    splits = GroupKFold(min(FOLDS, len(np.unique(groups)))).split(groups, groups=groups)
    for number, (_, held_out) in enumerate(splits):
        folds[held_out] = number
    return folds


def held_out_forecasts(
    models: Mapping[str, Any], data: Training, folds: NDArray[np.intp]
) -> tuple[dict[str, NDArray[np.float64]], list[dict[str, Any]]]:
    """Forecast every field by models that were fitted without its fold.

    Returns:
        Model -> (fields,) forecasts, and the fitted models of each fold by name.
    """
    forecasts = {name: np.empty(len(folds)) for name in models}
    fitted: list[dict[str, Any]] = []
    for number in range(folds.max() + 1):
        held_out = np.flatnonzero(folds == number)
        fitted.append({name: fit(model, data.take(folds != number)) for name, model in models.items()})
        for name, model in fitted[-1].items():
            forecasts[name][held_out] = model.predict(data.features.iloc[held_out])
    return forecasts, fitted


def cross_validate(data: Training) -> CrossValidation:
    """Choose, fit and judge, with whole districts held out; there must be at least three of them."""
    models = candidates(list(data.features.columns))
    folds = fold_numbers(data.groups)
    forecasts, fitted = held_out_forecasts(models, data, folds)
    auto, chosen = np.empty(len(folds)), []
    for number in range(folds.max() + 1):
        rest = data.take(folds != number)
        chosen.append(best_of(models, rest))
        auto[folds == number] = forecasts[chosen[-1]][folds == number]
    errors = {name: scores(data.yields, values)["rmse"] for name, values in forecasts.items()}
    name = min(errors, key=lambda one: errors[one])
    return CrossValidation(
        folds,
        forecasts | {"auto": auto},
        chosen,
        [fitted[number][one] for number, one in enumerate(chosen)],
        fit(models[name], data),
        name,
        {one: scores(data.yields, values) for one, values in (forecasts | {"auto": auto}).items()},
    )


def best_of(models: Mapping[str, Any], data: Training) -> str:
    """The model with the least error on held-out districts of these fields."""
    forecasts, _ = held_out_forecasts(models, data, fold_numbers(data.groups))
    return min(models, key=lambda name: scores(data.yields, forecasts[name])["rmse"])


def scores(known: NDArray[np.float64], forecast: NDArray[np.float64]) -> dict[str, float]:
    """RMSE, MAE and bias (forecast - known) in the unit of the yields, R2 against the mean of ``known``."""
    error = forecast - known
    spread = float(((known - known.mean()) ** 2).sum())
    return {
        "rmse": float(np.sqrt((error**2).mean())),
        "mae": float(np.abs(error).mean()),
        "bias": float(error.mean()),
        "r2": 1 - float((error**2).sum()) / spread if spread else float("nan"),
    }
