"""Views of a patch: nearer, turned, and under other air and light."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from ground import BANDS
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from geoseg.doctor.atmosphere import AIR

HAZE = (1.0, 0.6, 0.35, 0.15, 0.02, 0.01)
"""How much a haze that adds 1 to blue adds to the six bands: scattering falls with the wavelength."""
PATH, TRANSMITTED = zip(*(AIR[name] for name in BANDS), strict=True)
"""Top of atmosphere = path + transmitted x surface."""
_ORIENTATIONS = 8


class View(NamedTuple):
    """A patch, or a part of it.

    Attributes:
        values: float32 (bands, rows, columns), reflectance.
        valid: bool (rows, columns).
        labels: int64 (rows, columns), NO_LABEL where unknown.
        soft: float32 (classes, rows, columns), the teacher's probabilities; None without a teacher.
    """

    values: Tensor
    valid: Tensor
    labels: Tensor
    soft: Tensor | None


@dataclass(frozen=True)
class ViewSettings:
    """How far views differ from the patch.

    Attributes:
        nearer: Share of views that are enlarged, as pixels of 10 to 30 m would show the ground.
        nearest: Largest enlargement.
        gain: Standard deviation of the logarithm of the brightness of all bands.
        band_gain: The same of each band by itself.
        haze: Most that is added to blue.
        top_of_atmosphere: Share of views that are seen through part or all of the air.
        noise: Largest standard deviation of added noise.
    """

    nearer: float = 0.3
    nearest: float = 3.0
    gain: float = 0.08
    band_gain: float = 0.03
    haze: float = 0.02
    top_of_atmosphere: float = 0.15
    noise: float = 0.006


def draw_view(view: View, settings: ViewSettings, rng: np.random.Generator, side: int) -> View:
    """Draw a view with sides of so many pixels."""
    factor = float(rng.uniform(1, settings.nearest)) if rng.random() < settings.nearer else 1.0
    view = cut(view, max(side // 4, round(side / factor)), side, rng)
    turn = int(rng.integers(_ORIENTATIONS))
    values, valid, labels = (orient(each, turn) for each in view[:3])
    soft = None if view.soft is None else orient(view.soft, turn)
    return View(relight(values, settings, rng), valid, labels, soft)


def cut(view: View, part: int, side: int, rng: np.random.Generator) -> View:
    """Cut out a part at random and enlarge it to a side; half of them get their edges sharpened again."""
    rows, cols = view.labels.shape
    row, col = int(rng.integers(rows - part + 1)), int(rng.integers(cols - part + 1))
    inside = (..., slice(row, row + part), slice(col, col + part))
    values, soft = view.values[inside], None if view.soft is None else view.soft[inside]
    valid, labels = view.valid[inside], view.labels[inside]
    if part == side:
        return View(values, valid, labels, soft)
    values = _resize(values, side, "bilinear")
    if rng.random() < 0.5:
        smooth = avg_pool2d(values[None], 3, 1, 1, count_include_pad=False)[0]
        values = values + (values - smooth) * float(rng.uniform(0, 1.5))
    valid = _resize(valid[None].float(), side, "nearest")[0] > 0
    labels = _resize(labels[None].float(), side, "nearest")[0].long()
    return View(values, valid, labels, None if soft is None else _resize(soft, side, "bilinear"))


def _resize(array: Tensor, side: int, how: str) -> Tensor:
    corners: dict[str, bool] = {"align_corners": False} if how == "bilinear" else {}
    return interpolate(array[None], size=side, mode=how, **corners)[0]


def orient(array: Tensor, number: int) -> Tensor:
    """Turn by quarters (number % 4) after mirroring the columns (number >= 4)."""
    mirrored = array.flip(-1) if number >= _ORIENTATIONS // 2 else array
    return torch.rot90(mirrored, number % 4, (-2, -1))


def unorient(array: Tensor, number: int) -> Tensor:
    """Undo ``orient``."""
    turned = torch.rot90(array, -(number % 4), (-2, -1))
    return turned.flip(-1) if number >= _ORIENTATIONS // 2 else turned


def relight(values: Tensor, settings: ViewSettings, rng: np.random.Generator) -> Tensor:
    """Change brightness, haze, air and noise; values are (bands, ...)."""
    shape = (values.shape[0], *(1 for _ in values.shape[1:]))

    def of_bands(numbers: object) -> Tensor:
        return torch.tensor(np.asarray(numbers), dtype=torch.float32)[: shape[0]].view(shape)

    gains = rng.normal(0, settings.band_gain, shape[0])
    values = values * (math.exp(rng.normal(0, settings.gain)) * of_bands(np.exp(gains)))
    if rng.random() < 0.4:
        values = values + float(rng.uniform(-settings.haze / 2, settings.haze)) * of_bands(HAZE)
    if rng.random() < settings.top_of_atmosphere:
        share = float(rng.random())
        values = share * of_bands(PATH) + (1 - share + share * of_bands(TRANSMITTED)) * values
    if rng.random() < 0.3:
        values = values + torch.randn(values.shape) * float(rng.uniform(0, settings.noise))
    return values
