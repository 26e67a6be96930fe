"""The refine steps once more, pixel by pixel on a whole array, as their documentation states them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import scipy.ndimage as ndimage

NODATA = 255
SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))


def inside(shape, row, column):
    return 0 <= row < shape[0] and 0 <= column < shape[1]


def patches(classes):
    """Every 4-connected patch of a class as a list of pixels."""
    seen = classes == NODATA
    for start in zip(*np.nonzero(~seen), strict=True):
        if seen[start]:
            continue
        patch, waiting = [], [start]
        seen[start] = True
        while waiting:
            row, column = waiting.pop()
            patch.append((row, column))
            for down, right in SIDES:
                at = (row + down, column + right)
                if inside(classes.shape, *at) and not seen[at] and classes[at] == classes[start]:
                    seen[at] = True
                    waiting.append(at)
        yield patch


def neighbours(classes, patch):
    """Sides shared with each other class."""
    members = set(patch)
    counts = Counter()
    for row, column in patch:
        for down, right in SIDES:
            at = (row + down, column + right)
            if inside(classes.shape, *at) and at not in members and classes[at] != NODATA:
                counts[int(classes[at])] += 1
    return counts


def sieve(classes, least, *, areas=None, probabilities=None, bands=()):
    """The smallest patch that has a neighbour goes, of equal ones the one of the highest class id; again."""
    classes = classes.copy()
    areas = np.ones(classes.shape) if areas is None else areas
    while True:
        going = []
        for patch in patches(classes):
            size = sum(areas[at] for at in patch)
            if size < least and neighbours(classes, patch):
                going.append((size, -int(classes[patch[0]]), patch))
        if not going:
            return classes
        patch = min(going)[2]

        def rank(item, patch=patch):
            value, sides = item
            likely = 0
            if value in bands:
                band = probabilities[bands.index(value)]
                likely = sum(int(band[at]) for at in patch if band[at] != NODATA)
            return (-likely, -sides, value)

        best = min(neighbours(classes, patch).items(), key=rank)[0]
        for at in patch:
            classes[at] = best


def fill_holes(classes, least, *, areas=None):
    """Fill what scipy fills class by class, where it is small; where holes overlap the largest counts."""
    areas = np.ones(classes.shape) if areas is None else areas
    filled = classes.copy()
    largest = np.zeros(classes.shape)
    every = list(patches(classes))
    for value in np.unique(classes[classes != NODATA]):
        mask = classes == value
        holes = np.zeros(classes.shape, bool)
        for piece in pieces(ndimage.binary_fill_holes(mask) & ~mask):
            touched = classes[ndimage.binary_dilation(piece)]
            holes |= piece & (areas[piece].sum() < least) & ~(touched == NODATA).any()
        for patch in every:
            if classes[patch[0]] == value and sum(areas[at] for at in patch) < least:
                around = {(row + i, column + j) for row, column in patch for i, j in SIDES} - set(patch)
                if all(inside(classes.shape, *at) and holes[at] for at in around):
                    holes[tuple(np.transpose(patch))] = True
        for piece in pieces(holes):
            better = piece & (areas[piece].sum() > largest)
            filled[better] = value
            largest[better] = areas[piece].sum()
    return filled


def pieces(mask):
    labels, count = ndimage.label(mask)
    return [labels == number for number in range(1, count + 1)]


def window(classes, row, column, size):
    """The pixels of the window around one, cut at the map's edge."""
    half = size // 2
    return classes[max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1]


def smooth(classes, size):
    new = classes.copy()
    for at in zip(*np.nonzero(classes != NODATA), strict=True):
        around = window(classes, *at, size)
        counts = Counter(around[around != NODATA].tolist())
        most = max(counts.values())
        tied = sorted(value for value, count in counts.items() if count == most)
        new[at] = classes[at] if classes[at] in tied else tied[0]
    return new


def covered(mask, size):
    """Pixels under a size x size square that lies in a mask, the mask going on beyond the map."""
    wide = np.pad(mask, 2 * size, constant_values=True)
    square = np.ones((size, size), bool)
    opened = ndimage.binary_opening(wide, square)
    return opened[2 * size : -2 * size, 2 * size : -2 * size]


def opening(classes, value, size, *, probabilities=None, bands=()):
    removed = (classes == value) & ~covered((classes == value) | (classes == NODATA), size)
    new = classes.copy()
    for at in zip(*np.nonzero(removed), strict=True):
        around = window(classes, *at, size)
        counts = Counter(around[(around != NODATA) & (around != value)].tolist())

        def rank(item, at=at):
            other, count = item
            likely = 0
            if other in bands and probabilities[bands.index(other)][at] != NODATA:
                likely = int(probabilities[bands.index(other)][at])
            return (-likely, -count, other)

        new[at] = min(counts.items(), key=rank)[0]
    return new


def closing(classes, value, size):
    free = covered(classes != value, size)
    return np.where(~free & (classes != NODATA), value, classes).astype(np.uint8)
