"""Put the parts of each tile together: one GeoTIFF scene and one GeoTIFF of labels a tile.

    python workflows/dubai/prepare.py DATA OUT

DATA holds ``tileN/part1.jpg`` to ``part9.jpg``, the 3 x 3 parts of a tile in reading order, and as many
``.png`` with class ids. OUT gets ``tileN.tif`` (red, green, blue; no CRS, as nobody says where they lie),
``tileN_labels.tif`` and the recipe. GeoTIFF in tiles, uncompressed, because training reads small windows
again and again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

ACROSS = 3
BANDS = ("red", "green", "blue")
NO_LABEL = 0
RECIPE = Path(__file__).with_name("recipe.toml")
COLOURS = {1: "#8c2d8c", 2: "#d9c58b", 3: "#5a5a5a", 4: "#3fa34d", 5: "#2f7fd0"}
"""Class id -> colour, as in recipe.toml."""

_STEP = 2.0
"""Touching parts differ at their border at most this many times as much as neighbouring rows inside them do.

Measured: 0.9 to 1.8 where parts touch; of 660 wrong pairs of parts all but one have more, 99 % more than 2.9
(the one is bare sand, 1.3, which no look at pixels can tell apart).
"""
_NEAR = 20
"""Rows on each side of a border that say how much neighbouring rows differ there."""


class TileError(Exception):
    """Parts that do not make a tile; the message says which."""


def put_together(parts: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Lay parts (bands, rows, columns) side by side in rows of three, in reading order.

    Raises:
        TileError: If their sizes do not fit.
    """
    rows = []
    for first in range(0, len(parts), ACROSS):
        row = parts[first : first + ACROSS]
        heights = {part.shape[1] for part in row}
        if len(heights) > 1:
            raise TileError(f"parts {first + 1} to {first + len(row)} are {sorted(heights)} rows high")
        rows.append(np.concatenate(row, axis=2))
    widths = {row.shape[2] for row in rows}
    if len(widths) > 1:
        raise TileError(f"the rows of parts are {sorted(widths)} columns wide")
    return np.concatenate(rows, axis=1)


def check_seams(parts: Sequence[NDArray[np.uint8]]) -> float:
    """Make sure that neighbouring parts continue one another.

    Returns:
        The largest step across a border, in steps between neighbouring rows (columns) beside it.

    Raises:
        TileError: If a step is too large.
    """
    steps = [_step(left, right) for left, right in _neighbours(parts)]
    worst = max(steps, default=0.0)
    if worst > _STEP:
        raise TileError(f"two of its parts do not touch: the step between them is {worst:.1f}")
    return worst


def _step(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> float:
    """Mean difference across the border of two parts side by side, relative to that inside them."""
    rows = min(left.shape[1], right.shape[1])
    left, right = (side[:, :rows].astype(np.float64) for side in (left, right))
    across = np.abs(left[:, :, -1] - right[:, :, 0]).mean()
    inside = (_differences(left[:, :, -_NEAR:]) + _differences(right[:, :, :_NEAR])) / 2
    return float(across / max(inside, 1.0))


def _differences(values: NDArray[np.float64]) -> float:
    return float(np.abs(np.diff(values, axis=2)).mean())


def contradictions(labels: Sequence[NDArray[np.uint8]]) -> tuple[float, float]:
    """How often labels change from one pixel to the next: across the borders of parts, and beside them.

    Parts were labelled apart, so what changes more often at their borders is where people disagree.

    Args:
        labels: Class ids of the parts, (1, rows, columns) each.

    Returns:
        Shares of pairs of neighbouring labelled pixels with different classes.
    """
    across: list[NDArray[np.bool_]] = []
    beside: list[NDArray[np.bool_]] = []
    for left, right in _neighbours(labels):
        rows = min(left.shape[1], right.shape[1])
        across.append(_changes(left[0, :rows, -1], right[0, :rows, 0]))
        beside.append(_changes(left[0, :, -_NEAR - 1], left[0, :, -_NEAR]))
        beside.append(_changes(right[0, :, _NEAR - 1], right[0, :, _NEAR]))
    return float(np.concatenate(across).mean()), float(np.concatenate(beside).mean())


def _changes(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
    both = (one != NO_LABEL) & (other != NO_LABEL)
    changes: NDArray[np.bool_] = one[both] != other[both]
    return changes


def _neighbours(parts: Sequence[NDArray[np.uint8]]) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Pairs of parts that touch, the second to the right of the first; those below one another turned."""
    for number, part in enumerate(parts):
        if (number + 1) % ACROSS and number + 1 < len(parts):
            yield part, parts[number + 1]
        if number + ACROSS < len(parts):
            yield part.transpose(0, 2, 1), parts[number + ACROSS].transpose(0, 2, 1)


def prepare(folder: Path, out: Path) -> None:
    """Write one tile's scene and labels.

    Raises:
        TileError: If the parts do not fit together.
    """
    numbers = range(1, ACROSS * ACROSS + 1)
    images = [_read(folder / f"part{number}.jpg") for number in numbers]
    labels = [_read(folder / f"part{number}.png") for number in numbers]
    for number, image, label in zip(numbers, images, labels, strict=True):
        if image.shape[1:] != label.shape[1:]:
            raise TileError(f"part {number} is {image.shape[1:]} and its labels are {label.shape[1:]}")
    step = check_seams(images)
    scene, classes = put_together(images), put_together(labels)
    unknown = set(np.unique(classes).tolist()) - {NO_LABEL, *COLOURS}
    if unknown:
        raise TileError(f"the labels hold {sorted(unknown)}, which are no classes")
    _write(out / f"{folder.name}.tif", scene, photometric="RGB")
    _write(out / f"{folder.name}_labels.tif", classes, nodata=NO_LABEL, compress="deflate")
    shares = [float(np.mean(classes == number)) for number in (NO_LABEL, *COLOURS)]
    across, beside = contradictions(labels)
    listed = " ".join(f"{share:.3f}" for share in shares)
    print(
        f"{folder.name}: {scene.shape[1]} x {scene.shape[2]}, largest step between parts {step:.2f}, share "
        f"of no label and classes 1-5 {listed}, labels change across borders of parts for {across:.1%} of "
        f"pixels, beside them for {beside:.1%}"
    )


def _read(path: Path) -> NDArray[np.uint8]:
    with rasterio.open(path) as raster:
        values: NDArray[np.uint8] = raster.read()
    return values


def _write(path: Path, values: NDArray[np.uint8], **options: object) -> None:
    shape = {"count": values.shape[0], "height": values.shape[1], "width": values.shape[2]}
    tiled = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    with rasterio.open(path, "w", driver="GTiff", dtype="uint8", **shape, **tiled, **options) as raster:
        if values.shape[0] == len(BANDS):
            raster.descriptions = BANDS
        else:
            raster.write_colormap(1, {number: _rgb(colour) for number, colour in COLOURS.items()})
        raster.write(values)


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def main() -> int:
    """Prepare every tile of a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, help="folder with tile1, tile2 ...")
    parser.add_argument("out", type=Path, help="folder for the scenes and labels; made if it is not there")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    folders = sorted(path for path in arguments.data.glob("tile*") if path.is_dir())
    if not folders:
        print(f"{arguments.data} holds no tile1, tile2 ...", file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        try:
            prepare(folder, arguments.out)
        except TileError as error:
            print(f"{folder}: {error}", file=sys.stderr)
            return 2
    shutil.copy(RECIPE, arguments.out / RECIPE.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
