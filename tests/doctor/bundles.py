"""Bundled models of tests: one that reads reflectance at 30 m, one that reads 8-bit pictures of unstated size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from geoseg.classes import LandClass
from geoseg.models.card import ModelBand, ModelCard
from geoseg.models.mlm import item_from_card
from tests.conftest import save_tiny
from tests.scene.rasters import write

CROP_BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
LOW = (0.015, 0.025, 0.02, 0.015, 0.004, 0.003)
HIGH = (0.09, 0.14, 0.2, 0.46, 0.41, 0.3)
RGB = ("red", "green", "blue")

CROPS = {
    "name": "crops",
    "bands": tuple(
        ModelBand(name, (low + high) / 2, (high - low) / 4, low, high)
        for name, low, high in zip(CROP_BANDS, LOW, HIGH, strict=True)
    ),
    "gsd": 30.0,
}
PICTURES = {
    "name": "pictures",
    "bands": tuple(ModelBand(name, 120, 60, low, 250) for name, low in zip(RGB, (12, 22, 16), strict=True)),
    "classes": tuple(LandClass(i, name, f"#0000{i}0") for i, name in enumerate(("land", "road", "water"), 1)),
    "units": "digital numbers",
    "value_scale": 1.0,
    "gsd": 1.0,
    "gsd_estimated": True,
}


def card(fields, **changes) -> ModelCard:
    defaults = {
        "architecture": "unet-classic",
        "classes": PICTURES["classes"],
        "units": "reflectance",
        "value_scale": 1e-4,
    }
    return ModelCard(**(defaults | fields | changes))


def put_card(bundled: Path, fields, **changes) -> None:
    """A package with a card and nothing else: whoever looks for its weights fails."""
    made = card(fields, **changes)
    folder = bundled / made.name
    folder.mkdir(parents=True)
    (folder / "mlm.json").write_text(json.dumps(item_from_card(made)))


def put_model(bundled: Path, fields, **changes) -> Path:
    """A whole package with random weights."""
    return save_tiny(bundled / fields["name"], **(fields | changes))


def picture(path: Path, shape=(120, 140), **options) -> Path:
    """An RGB picture as cameras write it: 8 bits, no CRS."""
    values = np.random.default_rng(0).integers(10, 250, (3, *shape)).astype("uint8")
    defaults = {"crs": None, "transform": None, "photometric": "RGB"}
    if options.get("driver", "GTiff") != "GTiff":
        del defaults["photometric"]
    return write(path, options.pop("values", values), **(defaults | options))


def crop_values(shape=(120, 140), seed=0):
    """Plausible reflectance in the six bands, (6, rows, columns) float64."""
    low, high = (np.array(limits)[:, None, None] for limits in (LOW, HIGH))
    return low + (high - low) * np.random.default_rng(seed).beta(2, 3, (6, *shape))


def farmland(path: Path, **options) -> Path:
    """Six bands of reflectance x 10000 at 30 m."""
    values = np.rint(crop_values() * 1e4).astype("int16")
    defaults = {"descriptions": CROP_BANDS, "scales": (1e-4,) * 6}
    return write(path, options.pop("values", values), **(defaults | options))
