"""Read what the world models learn from: WorldCover patches, a labelled Landsat scene, African points."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
CLASSES = {
    1: ("trees", "#006400"),
    2: ("shrubland", "#ffbb22"),
    3: ("grassland", "#ffff4c"),
    4: ("cropland", "#f096ff"),
    5: ("built-up", "#fa0000"),
    6: ("bare and sparse", "#b4b4b4"),
    7: ("snow and ice", "#f0f0f0"),
    8: ("water", "#0064c8"),
    9: ("wetland", "#0096a0"),
}
"""Id -> name and colour, those of WorldCover; mangroves are trees, moss and lichen bare and sparse."""
COMMON = (1, 3, 4, 5, 6, 8)
"""Ids of the six classes that occur in enough places for their mean IoU to mean something."""
CROPLAND = 4
NO_LABEL = -1
SCALE = 1e-4
LARGE_PLACE = 40
"""Patches; places with more are always trained on, because no fold could hold them."""
DAKOTA_CODES = {
    1: (141, 142, 143, 190),
    2: (152,),
    3: (176,),
    4: (1, 4, 5, 6, 12, 13, *range(21, 26), *range(27, 37), 38, 39, *range(41, 46), 49, 53),
    5: (122, 123, 124),
    6: (131,),
    8: (111,),
    9: (195,),
}
"""Id -> codes of the Cropland Data Layer. Hay and developed open space mean other things in WorldCover."""
REGIONS = ("central", "eastern", "indian_ocean", "sahel", "south_eastern", "southern")
_OF_NINE = (0, 1, 2, 6, 7, 8)
"""Where the six bands stand among the nine of the African points."""


@dataclass(frozen=True)
class Patches:
    """Patches of surface reflectance with land-cover labels.

    Attributes:
        values: float32 (patches, bands, rows, columns), reflectance; below -0.5 is nodata.
        labels: int64 (patches, rows, columns): class id - 1, or NO_LABEL.
        place: int (patches,): patches of one place lie on the same ground.
        fold: int (patches,): fold by place; -1 is trained on in every fold.
    """

    values: NDArray[np.float32]
    labels: NDArray[np.int64]
    place: NDArray[np.int64]
    fold: NDArray[np.int64]

    def training(self, fold: int | None) -> NDArray[np.intp]:
        """Numbers of the patches that train when a fold is held out; None holds out nothing."""
        return np.arange(len(self.fold)) if fold is None else np.flatnonzero(self.fold != fold)

    def held_out(self, fold: int) -> NDArray[np.intp]:
        """Numbers of the patches of a fold."""
        return np.flatnonzero(self.fold == fold)


def read_patches(data: Path, folds: int = 5) -> Patches:
    """Read all patches of ``data/worldcover``."""
    folder = data / "worldcover"
    with (folder / "places.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    values, labels = [], []
    for row in rows:
        with rasterio.open(folder / "scenes" / f"{row['patch']}.tif") as scene:
            values.append(scene.read().astype(np.float32) * np.float32(SCALE))
        with rasterio.open(folder / "labels" / f"{row['patch']}.tif") as truth:
            labels.append(truth.read(1).astype(np.int64) - 1)
    place = np.array([int(row["place"]) for row in rows])
    return Patches(np.stack(values), np.stack(labels), place, folds_by_place(place, folds))


def folds_by_place(place: NDArray[np.int64], folds: int, seed: int = 3) -> NDArray[np.int64]:
    """Deal whole places to folds, the largest first, each to the fold with the fewest patches."""
    ids, counts = np.unique(place, return_counts=True)
    rng = np.random.default_rng(seed)
    small = ids[counts < LARGE_PLACE]
    small = small[np.lexsort((rng.random(small.size), -counts[counts < LARGE_PLACE]))]
    size, fold = np.zeros(folds), {int(each): -1 for each in ids}
    for each in small:
        chosen = int(np.argmin(size + rng.random(folds) * 1e-6))
        fold[int(each)] = chosen
        size[chosen] += counts[ids == each][0]
    return np.array([fold[int(each)] for each in place])


@dataclass(frozen=True)
class LabelledScene:
    """One large scene with labels.

    Attributes:
        values: float32 (bands, rows, columns), reflectance; nodata is -1.
        labels: int64 (rows, columns): class id - 1, or NO_LABEL.
        corners: int (chips, 2): first row and column of chips of 128 pixels that are mostly valid.
    """

    values: NDArray[np.float32]
    labels: NDArray[np.int64]
    corners: NDArray[np.int64]


def read_dakota(data: Path, side: int = 128) -> LabelledScene:
    """Read ``data/dakota`` with the classes of the world model in place of its crops."""
    with rasterio.open(data / "dakota" / "scene.tif") as scene:
        stored, nodata = scene.read(), scene.nodata
    with rasterio.open(data / "dakota" / "cdl.tif") as truth:
        codes = truth.read(1)
    table = np.full(256, NO_LABEL)
    for number, known in DAKOTA_CODES.items():
        table[list(known)] = number - 1
    valid = (stored != nodata).all(axis=0)
    values = stored.astype(np.float32) * np.float32(SCALE)
    values[:, ~valid] = -1
    labels = np.where(valid, table[codes], NO_LABEL)
    corners = [
        (row, col)
        for row in range(0, valid.shape[0] - side + 1, side // 2)
        for col in range(0, valid.shape[1] - side + 1, side // 2)
        if valid[row : row + side, col : col + side].mean() > 0.9
    ]
    return LabelledScene(values, labels, np.array(corners))


@dataclass(frozen=True)
class Points:
    """Points that are crop or not.

    Attributes:
        values: float32 (points, seasons, bands), reflectance.
        crop: bool (points,).
    """

    values: NDArray[np.float32]
    crop: NDArray[np.bool_]


def read_points(data: Path, region: str) -> Points:
    """Read the points of an African region."""
    with np.load(data / "africa" / f"{region}.npz") as file:
        return Points(file["reflectance"][:, :, _OF_NINE], file["crop"].astype(bool))
