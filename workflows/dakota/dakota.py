"""The dakota scene, its labels and its spatial split, as the scripts of this folder share them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

NODATA = -9999
SCALE = 0.0001
BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
CLASSES = {
    1: "corn",
    2: "soybeans",
    3: "wheat and small grains",
    4: "dry beans",
    5: "other crops",
    6: "grass, hay and pasture",
    7: "forest and shrub",
    8: "water and wetland",
    9: "developed and barren",
}
SPLIT_FILE = Path(__file__).with_name("split.json")


@dataclass(frozen=True)
class Scene:
    """The whole scene in memory.

    Attributes:
        image: (bands, rows, columns) int16, reflectance x 10000, nodata -9999.
        labels: (rows, columns) uint8, 1-9, 0 where there is no label.
        valid: (rows, columns) bool, False where every band is nodata.
    """

    image: NDArray[np.int16]
    labels: NDArray[np.uint8]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """Which block of the scene serves what.

    Attributes:
        block_size: side of a block in pixels.
        buffer: pixels around held-out blocks that training chips keep clear of.
        blocks: part ("train", "validation", "test") -> (row, column) indices of its blocks.
    """

    block_size: int
    buffer: int
    blocks: dict[str, list[tuple[int, int]]]

    def mask(self, part: str, shape: tuple[int, int], grow: int = 0) -> NDArray[np.bool_]:
        """Pixels of the blocks of one part, each block grown by `grow` pixels, as (rows, columns) bool."""
        size = self.block_size
        mask = np.zeros(shape, dtype=bool)
        for row, col in self.blocks[part]:
            top, left = max(0, row * size - grow), max(0, col * size - grow)
            mask[top : (row + 1) * size + grow, left : (col + 1) * size + grow] = True
        return mask

    def training_mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Pixels a training chip may cover: everything that is not held out or within the buffer."""
        held_out = self.mask("test", shape, self.buffer) | self.mask("validation", shape, self.buffer)
        return ~held_out


def load_scene(folder: Path) -> Scene:
    """Read scene.tif and classes.tif of the data folder into memory."""
    with rasterio.open(folder / "scene.tif") as source:
        image = source.read()
    with rasterio.open(folder / "classes.tif") as source:
        labels = source.read(1)
    return Scene(image, labels, (image != NODATA).any(axis=0))


def load_split(path: Path = SPLIT_FILE) -> Split:
    """Read the split that split.py wrote."""
    content = json.loads(path.read_text())
    blocks = {part: [(row, col) for row, col in pairs] for part, pairs in content["blocks"].items()}
    return Split(content["block_size"], content["buffer"], blocks)


def band_statistics(scene: Scene, where: NDArray[np.bool_]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the reflectance of each band over the valid pixels of `where`."""
    picked = scene.image[:, scene.valid & where].astype(np.float64) * SCALE
    return [round(float(v), 5) for v in picked.mean(axis=1)], [round(float(v), 5) for v in picked.std(axis=1)]


def normalise(
    image: NDArray[np.int16], mean: list[float] | NDArray[np.float32], std: list[float] | NDArray[np.float32]
) -> NDArray[np.float32]:
    """Stored values (bands, rows, columns) -> (reflectance - mean) / std; 0 where every band is nodata."""
    shape = (-1, 1, 1)
    scaled = image.astype(np.float32) * np.float32(SCALE)
    scaled -= np.asarray(mean, dtype=np.float32).reshape(shape)
    scaled /= np.asarray(std, dtype=np.float32).reshape(shape)
    return np.where((image != NODATA).any(axis=0), scaled, np.float32(0))


def read_window(array: NDArray, top: int, left: int, height: int, width: int, fill: int) -> NDArray:
    """Cut a window that may reach beyond the edges of (..., rows, columns); outside is `fill`."""
    rows, cols = array.shape[-2:]
    out = np.full((*array.shape[:-2], height, width), fill, dtype=array.dtype)
    row0, row1 = max(top, 0), min(top + height, rows)
    col0, col1 = max(left, 0), min(left + width, cols)
    if row0 < row1 and col0 < col1:
        out[..., row0 - top : row1 - top, col0 - left : col1 - left] = array[..., row0:row1, col0:col1]
    return out
