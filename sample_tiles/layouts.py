"""How a square mile of farmland is cut up: templates of one section, 54 x 54 pixels of 30 m.

A template gives every pixel a part number. Roads run along the northern and western edge, fields follow the
halves and quarters of the section. Which cover a part has is decided elsewhere.
"""

from __future__ import annotations

from functools import cache
from random import Random

import numpy as np

SECTION = 54
HALF = SECTION // 2
TEMPLATES = 96
TOWNS = 4
# Part numbers: 0-10 fields, then:
PARTS = 16
GRASS, TREES, YARD, STREET, ROAD = 11, 12, 13, 14, 15
Box = tuple[int, int, int, int]


def _halves(box: Box, upright: bool, shift: int = 0) -> list[Box]:
    """Split a box (row, column, row stop, column stop) in two, `shift` pixels off the middle."""
    top, left, bottom, right = box
    if upright:
        middle = (left + right) // 2 + shift
        return [(top, left, bottom, middle), (top, middle, bottom, right)]
    middle = (top + bottom) // 2 + shift
    return [(top, left, middle, right), (middle, left, bottom, right)]


def _fields(dice: Random) -> list[Box]:
    """The boxes of the fields of one section: whole, halves, quarters and halves of quarters."""
    whole = (0, 0, SECTION, SECTION)
    kind = dice.random()
    if kind < 0.07:
        return [whole]
    halves = _halves(whole, dice.random() < 0.5)
    if kind < 0.25:
        return halves
    upright = halves[0][2] != SECTION
    first, second = ([half] if dice.random() < 0.25 else _halves(half, upright) for half in halves)
    boxes = []
    for quarter in first + second:
        small = quarter[2] - quarter[0] <= HALF and quarter[3] - quarter[1] <= HALF
        split = small and dice.random() < 0.35 and len(boxes) < 6
        shift = int(dice.random() * 13) - 6
        boxes += _halves(quarter, dice.random() < 0.5, shift) if split else [quarter]
    return boxes


def _plant_trees(part: np.ndarray, dice: Random) -> None:
    """A shelterbelt: two or three rows of pixels along a half-section line or beside a road."""
    length, width = 14 + int(dice.random() * 26), 2 + int(dice.random() * 2)
    start = 2 + int(dice.random() * (SECTION - length - 3))
    line = HALF if dice.random() < 0.6 else 2
    if dice.random() < 0.5:
        part[line : line + width, start : start + length] = TREES
    else:
        part[start : start + length, line : line + width] = TREES


def _build_farmstead(part: np.ndarray, dice: Random) -> None:
    """A ragged yard near a road or the middle of the section, with trees on its northern and western side."""
    row = 2 if dice.random() < 0.7 else HALF + 2
    column = 6 + int(dice.random() * 36)
    height, width, trees = 5 + int(dice.random() * 3), 5 + int(dice.random() * 4), 1 + int(dice.random() * 2)
    if dice.random() < 0.5:
        row, column = column, row
    for down in range(-trees, height):
        for right in range(-trees, width):
            planted = down < 0 or right < 0
            if dice.random() < (0.8 if planted else 0.93):
                part[row + trees + down, column + trees + right] = TREES if planted else YARD


def _build_town(part: np.ndarray, dice: Random) -> None:
    """A small town: blocks of yards and streets with some trees and grass, without sharp edges."""
    reach = 11 + int(dice.random() * 6)
    rows, columns = np.indices(part.shape)
    inside = np.maximum(np.abs(rows - HALF), np.abs(columns - HALF) - 3) < reach
    inside &= np.abs(rows - HALF) + np.abs(columns - HALF) < 1.6 * reach + int(dice.random() * 6)
    for row in range(0, SECTION, 3):
        for column in range(0, SECTION, 3):
            block = (slice(row, row + 3), slice(column, column + 3))
            kind = dice.random()
            part[block][inside[block]] = TREES if kind < 0.08 else GRASS if kind < 0.16 else YARD
    street = ((rows % 8 == HALF % 8) | (columns % 8 == HALF % 8)) & inside
    part[street] = STREET


def _template(number: int) -> np.ndarray:
    """Template `number` without roads; the last `TOWNS` hold a town."""
    dice = Random(number)
    part = np.zeros((SECTION, SECTION), np.uint8)
    for index, (top, left, bottom, right) in enumerate(_fields(dice)):
        part[top:bottom, left:right] = index
    if dice.random() < 0.2:
        part[HALF, :] = GRASS
    if dice.random() < 0.2:
        part[:, HALF] = GRASS
    if dice.random() < 0.3:
        _plant_trees(part, dice)
    if dice.random() < 0.3:
        _build_farmstead(part, dice)
    if number >= TEMPLATES - TOWNS:
        _build_town(part, dice)
    return part


@cache
def templates() -> np.ndarray:
    """All templates as uint8 (template, width of northern road, of western road, 54, 54), widths 0-2."""
    result = np.empty((TEMPLATES, 3, 3, SECTION, SECTION), np.uint8)
    for number in range(TEMPLATES):
        result[number] = _template(number)
    for width in (1, 2):
        result[:, width, :, :width, :] = ROAD
        result[:, :, width, :, :width] = ROAD
    return result
