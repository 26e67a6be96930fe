"""Scenes for the input doctor, the card of the model that they are to fit, and its findings in short."""

from __future__ import annotations

import numpy as np

from geoseg.classes import LandClass
from geoseg.models.card import ModelBand, ModelCard

BANDS = ("blue", "green", "red", "nir")
LOW, HIGH = (0.02, 0.04, 0.03, 0.10), (0.12, 0.15, 0.20, 0.50)


def card(bands=BANDS, low=LOW, high=HIGH, **options):
    model_bands = tuple(
        ModelBand(name, (a + b) / 2, (b - a) / 4, a, b) for name, a, b in zip(bands, low, high, strict=True)
    )
    classes = (LandClass(1, "crop", "#00ff00"), LandClass(2, "water", "#0000ff"))
    defaults = {"name": "m", "architecture": "unet", "gsd": 30.0, "units": "reflectance", "value_scale": 1e-4}
    return ModelCard(bands=model_bands, classes=classes, **(defaults | options))


PICTURE = {
    "bands": BANDS[:3],
    "low": (20,) * 3,
    "high": (240,) * 3,
    "units": "digital numbers",
    "value_scale": 1.0,
}


def reflectance(shape=(200, 200), seed=0):
    """Plausible surface reflectance, (4, rows, columns) float64."""
    rng = np.random.default_rng(seed)
    low, high = (np.array(limits)[:, None, None] for limits in (LOW, HIGH))
    return np.clip(low + (high - low) * rng.beta(2, 3, (4, *shape)), 0, 1)


def stored(values, scale=1e4, offset=0, dtype="int16"):
    return np.rint(values * scale + offset).astype(dtype)


def codes(diagnosis):
    return [(finding.severity, finding.code) for finding in diagnosis.findings]


def only(diagnosis):
    assert len(diagnosis.findings) == 1, diagnosis.findings
    return diagnosis.findings[0]
