"""Random numbers that belong to places, not to the order of asking.

Everything random in the landscape is a function of (seed, stream, row, column): integer hashes for things
there are few of (sections, fields, nodes of smooth noise), the counter-based generator Philox keyed by tile
for the noise of single pixels. Only integers and element-wise float32 operations are used, no sums, no matrix
products, no transcendental functions, so that every machine computes the same bits.
"""

from __future__ import annotations

from functools import cache

import numpy as np

Array = np.ndarray
_ROW, _COLUMN, _STREAM = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))
_WORD = 2**64 - 1


def hash64(seed: int, stream: int, rows: Array, columns: Array) -> Array:
    """Hash places to uint64.

    The finaliser is that of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
    generators").

    Args:
        seed: Names the landscape.
        stream: Names what the number is for.
        rows: int64 places, broadcast with `columns`.
        columns: int64 places.
    """
    start = np.uint64((seed * 0xD6E8FEB86659FD93 + stream * int(_STREAM) + 0x2545F4914F6CDD1D) & _WORD)
    with np.errstate(over="ignore"):
        h = rows.astype(np.uint64) * _ROW ^ (columns.astype(np.uint64) + start) * _COLUMN
        h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return h ^ (h >> np.uint64(31))


def bell(hashes: Array) -> tuple[Array, Array]:
    """Two nearly normal float32 numbers of mean 0 and variance 1 from every hash: sums of four bytes each."""
    parts = hashes[..., None].view(np.uint8).reshape(*hashes.shape, 2, 4).astype(np.int16)
    total = parts[..., 0] + parts[..., 1] + parts[..., 2] + parts[..., 3] - np.int16(510)
    scaled = total.astype(np.float32) * np.float32(1 / 147.799)
    return scaled[..., 0], scaled[..., 1]


@cache
def _weights(step: int) -> tuple[Array, float]:
    """Blending weight of the next node for each pixel between two nodes; the variance blending leaves."""
    at = [(k + 0.5) / step for k in range(step)]
    smooth = [t * t * (3 - 2 * t) for t in at]
    variance = sum(t * t + (1 - t) * (1 - t) for t in smooth) / step
    return np.array(smooth, np.float32), variance


def _axis(start: int, length: int, step: int) -> tuple[int, int, Array, Array]:
    """First node, node count, node index and weight of every pixel of one axis."""
    places = np.arange(start, start + length)
    node = places // step
    first = int(node[0])
    return first, int(node[-1]) - first + 2, node - first, _weights(step)[0][places % step]


def smooth_noise(seed: int, stream: int, box: tuple[int, int, int, int], step: int) -> tuple[Array, Array]:
    """Two independent smooth random fields of mean 0 and (over many places) variance 1, float32.

    Random nodes every `step` pixels, blended with a smooth step in between (value noise).

    Args:
        seed: Names the landscape.
        stream: Names what the field is for.
        box: (first row, first column, rows, columns); any place, also negative.
        step: Pixels between nodes: about the size of the bumps.
    """
    row, column, height, width = box
    row0, rows, row_node, row_weight = _axis(row, height, step)
    column0, columns, column_node, column_weight = _axis(column, width, step)
    places = np.arange(row0, row0 + rows)[:, None], np.arange(column0, column0 + columns)[None, :]
    gain = np.float32(1 / _weights(step)[1])
    fields = []
    for nodes in bell(hash64(seed, stream, *places)):
        scaled = nodes * gain
        across = scaled[:, column_node] + (scaled[:, 1:] - scaled[:, :-1])[:, column_node] * column_weight
        field = (across[1:] - across[:-1])[row_node]
        field *= row_weight[:, None]
        field += across[row_node]
        fields.append(field)
    return fields[0], fields[1]


def white_noise(seed: int, tile_row: int, tile_column: int, shape: tuple[int, int, int]) -> Array:
    """Nearly normal int16 noise of mean 0 and standard deviation 128, one number for each cell of a tile.

    Sums of three bytes of Philox, keyed by seed and tile.
    """
    key = hash64(seed, 99, np.array([tile_row]), np.array([tile_column]))
    generator = np.random.Philox(key=np.array([key[0], np.uint64(seed & _WORD)]))
    count = shape[0] * shape[1] * shape[2]
    raw = generator.random_raw((3 * count + 7) // 8).view(np.int8)
    parts = raw[: 3 * count].reshape(3, *shape)
    total = np.add(parts[0], parts[1], dtype=np.int16)
    total += parts[2]
    return total
