"""Write synthetic farmland scenes with their labels.

    python sample_tiles/make.py                               the committed samples, into this folder
    python sample_tiles/make.py --size 8192 8192 --out DIR    one scene of any size, streamed

A scene of any size needs the memory of a few blocks. See README.md for what the scenes are and are not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine
from rasterio.windows import Window

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from covers import BANDS, CLASSES  # noqa: E402
from landscape import both  # noqa: E402

CRS = "EPSG:32614"
GSD = 30.0  # metres
WEST, NORTH = 500_000.0, 5_200_000.0  # where row 0, column 0 of the landscape lies; no real place is meant
SCALE = 0.0001
NO_LABEL = 0
NODATA = {"int16": -9999, "uint16": 0}
BLOCK = 512
DATE = "2015-09-02"  # of the scene whose spectra they have; nothing was acquired
DESCRIPTION = "SYNTHETIC farmland made by sample_tiles/make.py; not an image of any place"


@dataclass(frozen=True)
class Recipe:
    """What to make.

    Attributes:
        name: Stem of the scene's file; labels get `_labels`.
        seed: Names the landscape.
        origin: Row and column of the landscape where the scene begins.
        shape: Rows and columns.
        dtype: `int16` (nodata -9999) or `uint16` (nodata 0).
        bands: Names of the bands, in order.
        corner: Whether the upper left corner, slanted, has no data and no labels.
        compress: `deflate`, `zstd` or `none`.
        interleave: `pixel` or `band` (smaller; the samples).
        block: Rows and columns of a block of the file, a multiple of 16.
    """

    name: str
    seed: int
    origin: tuple[int, int]
    shape: tuple[int, int]
    dtype: str = "int16"
    bands: tuple[str, ...] = BANDS
    corner: bool = False
    compress: str = "deflate"
    interleave: str = "pixel"
    block: int = BLOCK


SAMPLES = (
    Recipe("farmland", seed=346, origin=(0, 0), shape=(300, 360), corner=True, interleave="band"),
    Recipe("odd", seed=323, origin=(0, 0), shape=(171, 233), interleave="band"),
    Recipe("heldout", seed=42, origin=(0, 0), shape=(192, 256), interleave="band"),
)


def outside(recipe: Recipe, row: int, column: int, height: int, width: int) -> np.ndarray:
    """Which pixels of a window of the scene lie in the corner without data, bool (rows, columns).

    The corner is a triangle: a third of the scene's height, a quarter of its width.
    """
    rows, columns = recipe.shape
    if not recipe.corner:
        return np.zeros((height, width), bool)
    down = np.arange(row, row + height)[:, None] * 3 * columns
    across = np.arange(column, column + width)[None, :] * 4 * rows
    return down + across < rows * columns


def part(recipe: Recipe, row: int, column: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Stored values (bands, rows, columns) and labels (rows, columns) of a window of the scene."""
    top, left = recipe.origin
    values, classes = both((top + row, left + column, height, width), recipe.seed)
    if recipe.bands != BANDS:
        values = values[[BANDS.index(name) for name in recipe.bands]]
    values = values.astype(recipe.dtype, copy=False)
    gone = outside(recipe, row, column, height, width)
    values[:, gone] = NODATA[recipe.dtype]
    classes[gone] = NO_LABEL
    return values, classes


def blocks(recipe: Recipe) -> Iterator[tuple[int, int, int, int]]:
    """The windows (row, column, rows, columns) in which a scene is written: the blocks of its file."""
    rows, columns = recipe.shape
    for row in range(0, rows, recipe.block):
        for column in range(0, columns, recipe.block):
            yield row, column, min(recipe.block, rows - row), min(recipe.block, columns - column)


def _profile(recipe: Recipe) -> dict[str, object]:
    """What the two files have in common, for rasterio."""
    rows, columns = recipe.shape
    west, north = WEST + GSD * recipe.origin[1], NORTH - GSD * recipe.origin[0]
    profile: dict[str, object] = {
        "driver": "GTiff",
        "height": rows,
        "width": columns,
        "crs": CRS,
        "transform": Affine(GSD, 0, west, 0, -GSD, north),
        "tiled": True,
        "blockxsize": recipe.block,
        "blockysize": recipe.block,
        "bigtiff": "if_safer",
        "interleave": recipe.interleave,
    }
    if recipe.compress != "none":
        profile |= {"compress": recipe.compress, "predictor": 2}
        profile |= {"zlevel": 9} if recipe.compress == "deflate" else {"zstd_level": 3}
    return profile


def write(recipe: Recipe, folder: Path, with_labels: bool = True) -> tuple[Path, Path | None]:
    """Stream one scene and its labels into `folder`.

    Returns:
        The scene's file and the labels' file (None without labels).
    """
    folder.mkdir(parents=True, exist_ok=True)
    scene_path, label_path = folder / f"{recipe.name}.tif", folder / f"{recipe.name}_labels.tif"
    profile = _profile(recipe)
    of_scene = {"count": len(recipe.bands), "dtype": recipe.dtype, "nodata": NODATA[recipe.dtype]}
    of_labels = {"count": 1, "dtype": "uint8", "nodata": NO_LABEL, "predictor": 1}
    with rasterio.Env(GDAL_CACHEMAX=64), rasterio.open(scene_path, "w", **profile, **of_scene) as scene:
        _describe_scene(scene, recipe)
        if not with_labels:
            for window in blocks(recipe):
                scene.write(part(recipe, *window)[0], window=_window(window))
            return scene_path, None
        with rasterio.open(label_path, "w", **profile | of_labels) as labels:
            _describe_labels(labels, recipe)
            for window in blocks(recipe):
                values, classes = part(recipe, *window)
                scene.write(values, window=_window(window))
                labels.write(classes, 1, window=_window(window))
    return scene_path, label_path


def _window(window: tuple[int, int, int, int]) -> Window:
    """Rasterio's form of (row, column, rows, columns)."""
    row, column, height, width = window
    return Window(column, row, width, height)


def _tags(recipe: Recipe) -> dict[str, str]:
    """What the files say about themselves."""
    row, column = recipe.origin
    made = f"seed {recipe.seed}, origin {row} {column}"
    return {"TIFFTAG_IMAGEDESCRIPTION": DESCRIPTION, "SYNTHETIC": "yes", "MADE_WITH": made}


def _describe_scene(scene: rasterio.io.DatasetWriter, recipe: Recipe) -> None:
    """Band names, scale and tags of a scene."""
    scene.descriptions = recipe.bands
    scene.scales = (SCALE,) * len(recipe.bands)
    scene.update_tags(**_tags(recipe), ACQUISITION_DATE=DATE)


def _describe_labels(labels: rasterio.io.DatasetWriter, recipe: Recipe) -> None:
    """Palette, names and tags of a label file."""
    palette = {class_id: (*color, 255) for class_id, (_, color) in CLASSES.items()}
    labels.write_colormap(1, {NO_LABEL: (0, 0, 0, 0)} | palette)
    labels.set_band_description(1, "land cover")
    names = {f"CLASS_{class_id}": name for class_id, (name, _) in CLASSES.items()}
    labels.update_tags(**_tags(recipe), **names)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    add = parser.add_argument
    add("--out", type=Path, default=HERE, metavar="DIR", help="where to write (default: here)")
    add("--size", type=int, nargs=2, metavar=("ROWS", "COLUMNS"), help="one scene of this size")
    add("--name", default="scene", help="its name (default: scene)")
    add("--seed", type=int, default=0, help="which landscape (default: 0)")
    add("--origin", type=int, nargs=2, default=(0, 0), metavar=("ROW", "COLUMN"), help="where in it")
    add("--dtype", choices=sorted(NODATA), default="int16")
    add("--bands", default=",".join(BANDS), help=f"names in order (default: {','.join(BANDS)})")
    add("--compress", choices=("deflate", "zstd", "none"), default="zstd")
    add("--no-corner", action="store_true", help="data everywhere, no nodata corner")
    add("--no-labels", action="store_true", help="only the scene")
    found = parser.parse_args(arguments)
    found.bands = tuple(found.bands.split(","))
    unknown = [name for name in found.bands if name not in BANDS]
    if unknown:
        parser.error(f"no band {', '.join(unknown)}; there are {', '.join(BANDS)}")
    if found.size and min(found.size) < 1:
        parser.error("--size needs at least one row and one column")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Write what the command line asks for and print the paths."""
    asked = _arguments(arguments)
    recipes = SAMPLES
    if asked.size:
        place = Recipe(asked.name, asked.seed, tuple(asked.origin), tuple(asked.size))
        look = {"dtype": asked.dtype, "bands": asked.bands, "compress": asked.compress}
        recipes = (replace(place, corner=not asked.no_corner, **look),)
    for recipe in recipes:
        for path in write(recipe, asked.out, with_labels=not asked.no_labels):
            if path:
                print(path)


if __name__ == "__main__":
    main()
