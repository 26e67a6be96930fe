"""Estimate the shift between labels and image: where label borders lie on the steepest changes of the image.

A border is a side between two pixels of different labels. The image's change across a side is the length of
the vector of band differences, each divided by that band's mean difference. For every shift within a search
window, the change is averaged over the shifted borders; the mean is largest where labels fit the image.

The significance of the peak is tested by a bootstrap (Efron 1979): the scene is cut into tiles, tiles are
drawn with replacement, and an estimate is given only if the peak stands out and stays where it is. The
standard deviation of the resampled peaks is the estimate's standard error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.labels.labels import Labels
from geoseg.scene.scene import Scene
from geoseg.training.ground.labelled_scene import LabelCells

REACH = 8
"""Largest shift that is searched, in pixels."""
WINDOW = 512
MOST_WINDOWS = 48
"""Largest number of windows of a scene that are read; they are spread over its labels."""
_TILE = 64
_MOST_BORDERS = 40_000
_FEWEST_BORDERS = 200
_REPLICATES = 200
_LOUDEST = 95
"""Percentile at which changes in a window are clipped, so that clouds and roofs do not dominate."""
_SURE = 0.9
_STANDS_OUT = 0.08
_NEAR = 4
"""Half-width of a peak in pixels; labels drawn on coarser pixels have a wider one."""


@dataclass(frozen=True)
class Offset:
    """Offset of the labels from the image.

    Attributes:
        rows: Pixels by which labels lie too far down.
        cols: Pixels by which labels lie too far right.
        error: The larger of the standard errors of both, in pixels.
    """

    rows: float
    cols: float
    error: float


@dataclass(frozen=True)
class Shift:
    """The estimate of the shift between labels and image.

    Attributes:
        offset: The estimate; None if there is none.
        contrast: Excess of the peak over the highest value away from it, as a share of that value.
        borders: Pixel sides along label borders that were used.
        reason: Why there is no estimate; empty where there is one.
    """

    offset: Offset | None
    contrast: float
    borders: int
    reason: str = ""


def estimate_shift(scene: Scene, labels: Labels, cells: LabelCells, *, seed: int = 0) -> Shift:
    """Estimate the shift between a scene and its labels.

    Args:
        scene: The scene.
        labels: Its labels, on its grid.
        cells: Counts of the labels, which say where labels are.
        seed: Seed of the resampling.

    Returns:
        The estimate, or the reason why there is none.

    Raises:
        RunError: If a file cannot be read.
    """
    sums, counts = [], []
    for window in border_windows(cells, scene.shape):
        for tile_sums, tile_counts in _sum_below_borders(scene, labels, window):
            sums.append(tile_sums)
            counts.append(tile_counts)
    if not sums:
        return Shift(None, 0.0, 0, "there are no label borders on valid pixels")
    return fit_shift(np.array(sums), np.array(counts), seed)


def border_windows(cells: LabelCells, shape: tuple[int, int]) -> list[Window]:
    """Choose windows that hold label borders, at most ``MOST_WINDOWS`` of them at equal steps."""
    found = []
    for row in range(0, shape[0], WINDOW):
        for col in range(0, shape[1], WINDOW):
            window = Window(row, col, min(WINDOW, shape[0] - row), min(WINDOW, shape[1] - col))
            if cells.around(window):
                found.append(window)
    if len(found) <= MOST_WINDOWS:
        return found
    return [found[i * len(found) // MOST_WINDOWS] for i in range(MOST_WINDOWS)]


def fit_shift(sums: NDArray[np.float64], counts: NDArray[np.float64], seed: int) -> Shift:
    """Fit a shift to the change along the borders.

    Args:
        sums: Sum of the change along the borders of each tile at each shift, (tiles, shifts, shifts).
        counts: Number of borders with a known change, in the same shape.
        seed: Seed of the resampling.

    Returns:
        The estimate, or the reason why there is none.
    """
    borders = int(counts.max(axis=(1, 2)).sum())
    surface = _mean(sums.sum(axis=0), counts.sum(axis=0))
    peak = _peak(surface)
    contrast = _contrast(surface)
    if borders < _FEWEST_BORDERS:
        reason = f"there are only {borders} pixel sides of label borders, and {_FEWEST_BORDERS} are needed"
        return Shift(None, contrast, borders, reason)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), _REPLICATES)
    again = np.array(
        [_peak(_mean(np.tensordot(d, sums, 1), np.tensordot(d, counts, 1))) for d in draws.astype(float)]
    )
    stays = float((np.abs(again - peak).max(axis=1) <= 1).mean())
    reason = ""
    if max(abs(round(x)) for x in peak) >= REACH:
        reason = f"the best fit is at the edge of the search window, {REACH} pixels"
    elif contrast < _STANDS_OUT:
        reason = "the image changes no more at label borders than elsewhere"
    elif stays < _SURE:
        reason = "parts of the scene have different best fits"
    if reason:
        return Shift(None, contrast, borders, reason)
    error = float(again.std(axis=0).max())
    return Shift(Offset(-float(peak[0]), -float(peak[1]), error), contrast, borders)


def _mean(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    filled: NDArray[np.float64] = sums / np.maximum(counts, 1)
    return filled


def _peak(surface: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find the highest point, refined by a parabola along each axis: (rows, columns) from the centre."""
    row, col = np.unravel_index(int(np.argmax(surface)), surface.shape)
    reach = surface.shape[0] // 2
    return np.array(
        [row - reach + _vertex(surface[:, col], int(row)), col - reach + _vertex(surface[row], int(col))]
    )


def _vertex(line: NDArray[np.float64], at: int) -> float:
    """Find where the parabola through a peak and its neighbours is highest, -0.5 to 0.5 from the peak."""
    if not 0 < at < line.size - 1:
        return 0.0
    before, peak, after = (float(x) for x in line[at - 1 : at + 2])
    bend = before - 2 * peak + after
    return 0.0 if bend >= 0 else 0.5 * (before - after) / bend


def _contrast(surface: NDArray[np.float64]) -> float:
    """Compute the excess of the peak over the highest point that is not near it, as a share of that point."""
    row, col = np.unravel_index(int(np.argmax(surface)), surface.shape)
    far = np.ones(surface.shape, bool)
    far[max(0, row - _NEAR) : row + _NEAR + 1, max(0, col - _NEAR) : col + _NEAR + 1] = False
    around = float(surface[far].max())
    return float(surface[row, col]) / around - 1 if around > 0 else 0.0


def _sum_below_borders(
    scene: Scene, labels: Labels, window: Window
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Sum the change along each tile's borders at every shift, and count the borders with a known change."""
    wide = window.grown(REACH + 1, scene.shape)
    values, _ = scene.read(wide)  # NaN where a band has none, which leaves the change there unknown
    ids = labels.read(wide)
    top, left = window.row - REACH - 1, window.col - REACH - 1
    pad = [
        (wide.row - top, window.row_stop + REACH + 1 - wide.row_stop),
        (wide.col - left, window.col_stop + REACH + 1 - wide.col_stop),
    ]
    values = np.pad(values, [(0, 0), *pad], constant_values=np.nan)
    ids = np.pad(ids, pad, mode="edge")
    side = 2 * REACH + 1
    tiles = tuple(-(-n // _TILE) for n in window.shape)
    sums, counts = np.zeros((2, tiles[0] * tiles[1], side * side))
    for axis in (0, 1):
        change = _change(values, axis)
        at = _borders(ids, axis)
        tile = (at[:, 0] - REACH - 1) // _TILE * tiles[1] + (at[:, 1] - REACH - 1) // _TILE
        flat, start = change.ravel(), at[:, 0] * change.shape[1] + at[:, 1]
        for number in range(side * side):
            row, col = divmod(number, side)
            below = flat[start + (row - REACH) * change.shape[1] + col - REACH]
            known = ~np.isnan(below)
            sums[:, number] += np.bincount(tile[known], below[known], len(sums))
            counts[:, number] += np.bincount(tile[known], minlength=len(sums))
    for i in np.flatnonzero(counts.any(axis=1)):
        yield sums[i].reshape(side, side), counts[i].reshape(side, side)


def _change(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Compute the change from each pixel to the next along an axis (0 rows, 1 columns), NaN where unknown."""
    difference = np.abs(np.diff(values, axis=axis + 1))
    known = np.isfinite(difference)
    typical = np.array([d[k].mean() if k.any() else 0 for d, k in zip(difference, known, strict=True)])
    difference[typical == 0] = 0
    difference /= np.where(typical > 0, typical, 1)[:, None, None].astype(np.float32)
    length: NDArray[np.float32] = np.sqrt(np.sum(np.square(difference), axis=0))
    if np.isfinite(length).any():
        np.minimum(length, np.nanpercentile(length, _LOUDEST), out=length)
    return length


def _borders(ids: NDArray[np.uint8], axis: int) -> NDArray[np.intp]:
    """Find (row, column) of pixels inside the margin whose next pixel along an axis has another label."""
    margin = REACH + 1
    differ = ids[1:] != ids[:-1] if axis == 0 else ids[:, 1:] != ids[:, :-1]
    inside = np.zeros(differ.shape, bool)
    rows, cols = (n - margin for n in ids.shape)
    inside[margin:rows, margin:cols] = differ[margin:rows, margin:cols]
    found = np.argwhere(inside)
    step = -(-len(found) // _MOST_BORDERS) or 1
    return found[::step]
