"""An endless synthetic farmland: any window of it, always the same pixels.

`labels(window, seed)` and `spectra(window, seed)` give the classes and the six bands of a window of a
landscape that is fixed by its seed. The landscape is made tile by tile (256 x 256); a tile depends on the
seed and its place alone, so a pixel is the same in every window that holds it, and a scene of any size can be
made piece by piece.

The land is cut into sections of a square mile with roads between them (see `layouts`). Every field has a
cover (see `covers`), a mean spectrum of its own, and texture. Over this lie potholes, lakes, streams with
woods, and a highway. Spectra are blurred a little, as a real sensor does, and get noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from covers import BANDS, CLASS_OF_COVER, COVERS, INDEX
from layouts import GRASS, PARTS, ROAD, SECTION, STREET, TEMPLATES, TOWNS, TREES, YARD, templates
from noise import bell, hash64, smooth_noise, white_noise

Array = np.ndarray
Window = tuple[int, int, int, int]  # first row, first column, rows, columns

TILE = 256
HALO = 1  # pixels around a tile that its blur needs
BLUR = 0.11  # weight of each of the two neighbours along a row or column
SENSOR_NOISE = (9, 13, 17, 50, 42, 36)  # standard deviation, stored values
STEP = (8, 8, 16, 32, 32, 32)  # stored values are multiples of these: smaller files, steps below the noise
LIMITS = (32, 16000)  # stored values are clipped to these

_MEAN = np.stack([cover.mean for cover in COVERS])
_BETWEEN = np.stack([cover.between for cover in COVERS])
_WITHIN = np.stack([cover.within for cover in COVERS])
_OFTEN = np.array([(cover.cropland, cover.rangeland) for cover in COVERS], np.int64)
_FIXED_PARTS = {GRASS: "grass", TREES: "forest", YARD: "yards and streets", STREET: "road", ROAD: "road"}
# Parcels that every tile has after those of its sections.
_NATURAL = ("open water", "marsh", "grass", "forest", "road")


@dataclass(frozen=True)
class Ground:
    """What lies in a tile and its halo.

    Attributes:
        parcel: (rows, columns) number of the parcel of each pixel, a row of the other two.
        cover: (parcels,) cover number of each parcel.
        mean: (parcels, bands) mean spectrum of each parcel, float32.
    """

    parcel: Array
    cover: Array
    mean: Array


def labels(window: Window, seed: int = 0) -> Array:
    """Class ids (1-9) of a window, uint8 (rows, columns). Cheaper than the spectra, which are not made."""
    return _assemble(window, seed, spectra_too=False)[0]


def spectra(window: Window, seed: int = 0) -> Array:
    """Stored values (reflectance x 10000) of a window, int16 (bands, rows, columns), never nodata."""
    return _assemble(window, seed, spectra_too=True)[1]


def both(window: Window, seed: int = 0) -> tuple[Array, Array]:
    """Spectra and labels of a window, cheaper than one after the other."""
    classes, values = _assemble(window, seed, spectra_too=True)
    return values, classes


def _assemble(window: Window, seed: int, spectra_too: bool) -> tuple[Array, Array]:
    """Make the tiles that a window touches and cut the window out of them."""
    row, column, height, width = window
    if height < 1 or width < 1:
        message = f"a window needs at least one row and column, not {height} x {width}"
        raise ValueError(message)
    classes = np.empty((height, width), np.uint8)
    values = np.empty((len(BANDS), height, width) if spectra_too else (0, 0, 0), np.int16)
    for tile_row in range(row // TILE, (row + height - 1) // TILE + 1):
        for tile_column in range(column // TILE, (column + width - 1) // TILE + 1):
            rows, from_rows = _overlap(tile_row * TILE - row, TILE, height)
            columns, from_columns = _overlap(tile_column * TILE - column, TILE, width)
            inner = (from_rows, from_columns)
            ground = _ground(tile_row, tile_column, seed)
            parcel = ground.parcel[HALO:-HALO, HALO:-HALO][inner]
            classes[rows, columns] = CLASS_OF_COVER[ground.cover][parcel]
            if spectra_too:
                _light(ground, tile_row, tile_column, seed, values[:, rows, columns], inner)
    return classes, values


def _overlap(start: int, length: int, limit: int) -> tuple[slice, slice]:
    """What of a piece that begins at `start` lies within 0 to `limit`: in place, and in its own count."""
    low = max(start, 0)
    high = max(min(start + length, limit), low)
    return slice(low, high), slice(low - start, high - start)


def _ground(tile_row: int, tile_column: int, seed: int) -> Ground:
    """Lay out one tile with its halo."""
    box = (tile_row * TILE - HALO, tile_column * TILE - HALO, TILE + 2 * HALO, TILE + 2 * HALO)
    sections = _sections_of(box)
    parcel = _survey(box, sections, seed)
    cover, mean = _sow(sections, seed)
    natural = len(cover)
    _add_nature(parcel, box, natural, seed)
    extra = np.array([INDEX[name] for name in _NATURAL])
    return Ground(parcel, np.concatenate([cover, extra]), np.concatenate([mean, _MEAN[extra]]))


def _sections_of(box: Window) -> tuple[Array, Array]:
    """Section numbers (north-south, west-east) that may touch a box.

    The grid of sections leans: each row of sections lies one pixel further east, as north of the land survey
    is not quite north of the map.
    """
    row, column, height, width = box
    down = np.arange(row // SECTION, (row + height - 1) // SECTION + 1)
    lean_low, lean_high = int(down[0]), int(down[-1])
    first, last = (column - lean_high) // SECTION, (column + width - 1 - lean_low) // SECTION
    across = np.arange(first, last + 1)
    grid = np.meshgrid(down, across, indexing="ij")
    return grid[0].ravel(), grid[1].ravel()


def _road_width(seed: int, stream: int, line: Array, along: Array) -> Array:
    """Width in pixels of the road on a section line: mostly 1, main roads 2, some missing."""
    missing = (hash64(seed, stream, line, along) & np.uint64(15)) == 0
    return np.where(line % 6 == 2, 2, np.where(missing, 0, 1))


def _survey(box: Window, sections: tuple[Array, Array], seed: int) -> Array:
    """Parcel numbers of a box: 16 times the section's place in the list, plus the part of its template."""
    row, column, height, width = box
    down, across = sections
    dice = hash64(seed, 1, down, across)
    draw = (dice >> np.uint64(8)).astype(np.int64)
    town = (dice & np.uint64(63)) == 7
    template = np.where(town, TEMPLATES - TOWNS + draw % TOWNS, draw % (TEMPLATES - TOWNS))
    north, west = _road_width(seed, 2, down, across), _road_width(seed, 3, across, down)
    parcel = np.empty((height, width), np.int64)
    for number, (i, j) in enumerate(zip(down.tolist(), across.tolist(), strict=True)):
        rows, from_rows = _overlap(i * SECTION - row, SECTION, height)
        columns, from_columns = _overlap(j * SECTION + i - column, SECTION, width)
        part = templates()[int(template[number]), int(north[number]), int(west[number])]
        np.add(part[from_rows, from_columns], number * PARTS, out=parcel[rows, columns], dtype=np.int64)
    return parcel


def _sow(sections: tuple[Array, Array], seed: int) -> tuple[Array, Array]:
    """Cover and mean spectrum of every part of every section."""
    down, across = sections
    rows, columns = int(down[-1] - down[0]) + 1, int(across[-1] - across[0]) + 1
    region = smooth_noise(seed, 4, (int(down[0]), int(across[0]), rows, columns), 9)[0]
    grazing = np.clip((region * 170).astype(np.int64) + 90, 0, 256).ravel()
    places = (down[:, None], across[:, None] * PARTS + np.arange(PARTS))
    often = _OFTEN[:, 0] * (256 - grazing[:, None]) + _OFTEN[:, 1] * grazing[:, None]
    bounds = np.cumsum(often, axis=1)
    draw = (hash64(seed, 5, *places) >> np.uint64(11)) % bounds[:, -1:].astype(np.uint64)
    cover = (bounds[:, None, :] <= draw[:, :, None].astype(np.int64)).sum(axis=2)
    for part, name in _FIXED_PARTS.items():
        cover[:, part] = INDEX[name]
    cover = cover.ravel()
    mean = _MEAN[cover]
    factors = [*bell(hash64(seed, 6, *places)), bell(hash64(seed, 7, *places))[0]]
    for number, factor in enumerate(factors):
        mean = mean + factor.ravel()[:, None] * _BETWEEN[cover, number]
    return cover, mean


def _add_nature(parcel: Array, box: Window, first: int, seed: int) -> None:
    """Put streams, woods, potholes, lakes and a highway over the fields, in place.

    Args:
        parcel: Parcel numbers, changed.
        box: Where they lie.
        first: Parcel number of the first entry of `_NATURAL`.
        seed: Names the landscape.
    """
    water, marsh, grass, forest, road = range(first, first + len(_NATURAL))
    row, column, height, width = box
    fields, built = parcel.copy(), (parcel & (PARTS - 1)) >= YARD
    small, trees = smooth_noise(seed, 10, box, 6)
    pond, wood = smooth_noise(seed, 11, box, 15)
    lake, wet = smooth_noise(seed, 12, box, 110)
    wood = wood + trees * np.float32(0.4)
    distance = _stream_distance(box, seed)
    bank = distance < 3.5 + 1.2 * small
    parcel[bank] = np.where(wood[bank] > 0.1, forest, grass)
    parcel[wood > 2.5] = forest
    pond += small * np.float32(0.35) + wet * np.float32(0.3)
    lake = lake + pond * np.float32(0.16)
    parcel[(pond > 1.95) | (distance < 1.3)] = marsh
    parcel[pond > 2.3] = water
    columns = np.arange(column, column + width)
    rows = np.arange(row, row + height)
    highway = ((3 * rows[:, None] + 7 * columns[None, :] + seed % 8192) & 8191) < 18
    np.copyto(parcel, fields, where=built)
    parcel[highway] = road
    parcel[lake > 1.75] = marsh
    parcel[lake > 1.9] = water


def _stream_distance(box: Window, seed: int) -> Array:
    """About how many pixels each pixel is from the nearest stream: |f| / |grad f| of a smooth field f."""
    row, column, height, width = box
    wider = (row - 1, column - 1, height + 2, width + 2)
    valley, bends = smooth_noise(seed, 13, wider, 210)[0], smooth_noise(seed, 14, wider, 34)[0]
    field = valley + bends * np.float32(0.12) - np.float32(0.4)
    down = (field[2:, 1:-1] - field[:-2, 1:-1]) * np.float32(0.5)
    across = (field[1:-1, 2:] - field[1:-1, :-2]) * np.float32(0.5)
    slope = np.sqrt(down * down + across * across) + np.float32(0.004)
    return np.abs(field[1:-1, 1:-1]) / slope


def _light(ground: Ground, tile_row: int, tile_column: int, seed: int, out: Array, inner: tuple) -> None:
    """Spectra of a tile: means and texture, blurred, with noise; its part `inner` is written to `out`."""
    box = (tile_row * TILE - HALO, tile_column * TILE - HALO, TILE + 2 * HALO, TILE + 2 * HALO)
    fine, coarse = smooth_noise(seed, 20, box, 3), smooth_noise(seed, 21, box, 17)
    texture = [f * np.float32(0.75) + c * np.float32(0.66) for f, c in zip(fine, coarse, strict=True)]
    within = _WITHIN[ground.cover]
    noise = white_noise(seed, tile_row, tile_column, (len(BANDS), TILE, TILE))
    for band, (sigma, step) in enumerate(zip(SENSOR_NOISE, STEP, strict=True)):
        value = ground.mean[:, band].take(ground.parcel)
        for number in range(2):
            value += texture[number] * within[:, number, band].take(ground.parcel)
        value = _blur(value)
        value += noise[band] * np.float32(sigma / 128)
        np.clip(value, *LIMITS, out=value)
        out[band] = np.rint(value[inner] * np.float32(1 / step)).astype(np.int16) * np.int16(step)


def _blur(value: Array) -> Array:
    """Mix every pixel with its neighbours; the result is a halo smaller."""
    side, middle = np.float32(BLUR), np.float32(1 - 2 * BLUR)
    value = (value[:-2] + value[2:]) * side + value[1:-1] * middle
    return (value[:, :-2] + value[:, 2:]) * side + value[:, 1:-1] * middle
