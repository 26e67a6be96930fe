"""The land covers of the synthetic landscape: their looks, their class, how often they occur."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")

CLASSES = {
    1: ("corn", (255, 211, 0)),
    2: ("soybeans", (38, 112, 0)),
    3: ("wheat and small grains", (165, 112, 0)),
    4: ("dry beans", (165, 0, 0)),
    5: ("other crops", (209, 255, 0)),
    6: ("grass, hay and pasture", (232, 255, 191)),
    7: ("forest and shrub", (0, 120, 60)),
    8: ("water and wetland", (75, 112, 163)),
    9: ("developed and barren", (150, 150, 150)),
}

# How much of the measured spread (standard deviation) between and within fields is kept. One date cannot
# separate everything in reality; here it nearly can, so that tests may ask for a good result.
BETWEEN_KEPT = 0.55
WITHIN_KEPT = 0.6

MEASURED = json.loads(Path(__file__).with_name("spectra.json").read_text(encoding="utf-8"))["classes"]


@dataclass(frozen=True)
class Cover:
    """One land cover.

    Attributes:
        name: For people.
        class_id: Label value.
        mean: Stored values (reflectance x 10000) of the six bands.
        between: (3, bands) factors that differ from field to field.
        within: (2, bands) factors that differ from place to place.
        cropland: Frequency among fields of cropland, in 1000.
        rangeland: Frequency among fields of rangeland, in 1000.
    """

    name: str
    class_id: int
    mean: np.ndarray
    between: np.ndarray
    within: np.ndarray
    cropland: int = 0
    rangeland: int = 0


def _measured(
    name: str,
    class_id: int,
    index: int,
    often: tuple[int, int] = (0, 0),
    spread: tuple[float, float] = (1, 1),
) -> Cover:
    """A cover of `spectra.json`; `spread` lowers its variation between and within fields further."""
    row = MEASURED[str(class_id)][index]
    between = np.array(row["between_factors"], np.float32) * np.float32(BETWEEN_KEPT * spread[0])
    within = np.array(row["within_factors"], np.float32) * np.float32(WITHIN_KEPT * spread[1])
    return Cover(name, class_id, np.array(row["mean"], np.float32), between, within, *often)


def _gravel() -> Cover:
    """Road surface. Roads are narrower than a pixel, so the real data has no pure one: set by hand."""
    mean = np.array([450, 800, 930, 2650, 2800, 1950], np.float32)
    within = np.array([[60, 80, 110, 160, 200, 200], [-20, -20, -30, 160, 40, -20]], np.float32)
    return Cover("road", 9, mean, np.zeros((3, 6), np.float32), within * np.float32(WITHIN_KEPT))


COVERS = (
    _measured("corn", 1, 0, (180, 80)),
    _measured("soybeans, ripening", 2, 0, (150, 60)),
    _measured("soybeans, green", 2, 1, (150, 60)),
    _measured("soybeans, yellow", 2, 2, (40, 10)),
    _measured("wheat stubble", 3, 0, (125, 60)),
    _measured("wheat stubble, pale", 3, 1, (90, 40)),
    _measured("dry beans", 4, 0, (70, 20), (0.8, 0.9)),
    _measured("green late crops", 5, 1, (55, 25), (0.7, 1)),
    _measured("grass", 6, 0, (80, 450), (1, 0.9)),
    _measured("hay", 6, 1, (50, 200)),
    _measured("forest", 7, 0),
    _measured("open water", 8, 1, spread=(1, 0.25)),
    _measured("marsh", 8, 2, spread=(1, 0.5)),
    _measured("yards and streets", 9, 0, spread=(1, 1.4)),
    _gravel(),
)
INDEX = {cover.name: number for number, cover in enumerate(COVERS)}
CLASS_OF_COVER = np.array([cover.class_id for cover in COVERS], np.uint8)
