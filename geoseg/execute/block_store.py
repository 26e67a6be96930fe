"""The blocks of an unfinished run on disk: what is finished, and what waits for neighbours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.execute.finished import FinishedBlock
from geoseg.execute.part import PartBlock, Strip
from geoseg.execute.work_file import PART, Content, read_work, write_work
from geoseg.grid import Window
from geoseg.inference.margins import Index, Margin, MarginPlace
from geoseg.inference.tally import Tally

_BLOCK, _PART_BLOCK = re.compile(r"r(\d+)c(\d+)\.block"), re.compile(r"r(\d+)c(\d+)\.part-block")
T = TypeVar("T")
Maps = Mapping[str, NDArray[np.uint8]]
_SUMS, _VALID, _MAP = "sums", "valid", "map "


def patiently(look: Callable[[], T | None], seconds: float = 15.0) -> T | None:
    """Look for something that another machine has written until it is seen.

    File systems of clusters may show it seconds after it was given its name.

    Args:
        look: Gives it, or None.
        seconds: After how long to give up.
    """
    until = monotonic() + seconds
    while (found := look()) is None and monotonic() < until:
        sleep(0.2)
    return found


class WorkStore:
    """Files of one run in one folder, which several processes may share.

    Whatever is put is written as a whole or not at all, and checked when it is taken; what is damaged counts
    as not there. Putting the same again does no harm: the bytes are the same.

    Args:
        folder: Where the files are; made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blocks, self._margins, self._parts = folder / "blocks", folder / "margins", folder / "parts"

    def make(self) -> None:
        """Make the folders."""
        for folder in (self._blocks, self._margins, self._parts):
            folder.mkdir(parents=True, exist_ok=True)

    def put_finished(self, block: FinishedBlock) -> None:
        """Keep a finished block.

        Raises:
            RunError: If the disk is full.
        """
        write_work(self._block(block.index), Content(_values_of(block), block.maps))

    def finished(self, index: Index) -> FinishedBlock | None:
        """A finished block; None if it is not there, or damaged."""
        content = read_work(self._block(index))
        return None if content is None else _block_of(index, content.values, content.arrays)

    def has_finished(self, index: Index) -> bool:
        """Whether the file of a finished block is there, whole or not."""
        return self._block(index).exists()

    def indices(self) -> Iterator[Index]:
        """The blocks whose files are there, whole or not."""
        return _indices(self._blocks, _BLOCK)

    def part_indices(self) -> Iterator[Index]:
        """The blocks that wait for their neighbours and whose files are there, whole or not."""
        return _indices(self._parts, _PART_BLOCK)

    def put_part(self, part: PartBlock) -> None:
        """Keep a block that waits for its neighbours.

        Raises:
            RunError: If the disk is full.
        """
        arrays: dict[str, NDArray[Any]] = {
            f"{_MAP}{name}": pixels for name, pixels in part.rendered.maps.items()
        }
        for number, strip in enumerate(part.strips):
            arrays |= {f"{_SUMS}{number}": strip.sums, f"{_VALID}{number}": strip.valid}
        windows = [_to_list(strip.window) for strip in part.strips]
        write_work(self._part(part.index), Content(_values_of(part.rendered) | {"strips": windows}, arrays))

    def part(self, index: Index) -> PartBlock | None:
        """A block that waits for its neighbours; None if it is not there, or damaged."""
        content = read_work(self._part(index))
        if content is None:
            return None
        arrays = content.arrays
        maps = {name[len(_MAP) :]: array for name, array in arrays.items() if name.startswith(_MAP)}
        strips = [
            Strip(Window(*window), arrays[f"{_SUMS}{number}"], arrays[f"{_VALID}{number}"])
            for number, window in enumerate(content.values["strips"])
        ]
        return PartBlock(_block_of(index, content.values, maps), strips)

    def has_part(self, index: Index) -> bool:
        """Whether the file of a block that waits for its neighbours is there, whole or not."""
        return self._part(index).exists()

    def drop_part(self, index: Index) -> None:
        """Remove a block that waits no more."""
        self._part(index).unlink(missing_ok=True)

    def put_margin(self, margin: Margin) -> None:
        """Keep a margin for its taker.

        Raises:
            RunError: If the disk is full.
        """
        write_work(self._margin(margin.place), Content(asdict(margin.place), {_SUMS: margin.sums}))

    def margin(self, place: MarginPlace) -> Margin | None:
        """A margin; None if it is not there, or damaged."""
        content = read_work(self._margin(place))
        return None if content is None else Margin(place, content.arrays[_SUMS])

    def has_margin(self, place: MarginPlace) -> bool:
        """Whether the file of a margin is there, whole or not."""
        return self._margin(place).exists()

    def drop_margin(self, place: MarginPlace) -> None:
        """Remove a margin that its taker needs no more."""
        self._margin(place).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what a killed process left half written; nobody else may be writing."""
        for folder in (self._blocks, self._margins, self._parts):
            for path in folder.glob(f".*{PART}"):
                path.unlink(missing_ok=True)

    def _part(self, index: Index) -> Path:
        return self._parts / f"r{index[0]}c{index[1]}.part-block"

    def _block(self, index: Index) -> Path:
        return self._blocks / f"r{index[0]}c{index[1]}.block"

    def _margin(self, place: MarginPlace) -> Path:
        (row, col), (to_row, to_col) = place.giver, place.taker
        return self._margins / f"r{to_row}c{to_col}-of-r{row}c{col}.margin"


def _indices(folder: Path, names: re.Pattern[str]) -> Iterator[Index]:
    for path in folder.glob("r*c*"):
        match = names.fullmatch(path.name)
        if match is not None:
            yield int(match[1]), int(match[2])


def _values_of(block: FinishedBlock) -> dict[str, Any]:
    window = None if block.window is None else _to_list(block.window)
    return {"window": window, "counts": dict(block.counts), "tally": block.tally.to_json()}


def _block_of(index: Index, values: Mapping[str, Any], maps: Maps) -> FinishedBlock:
    window = None if values["window"] is None else Window(*values["window"])
    return FinishedBlock(index, window, maps, values["counts"], Tally.from_json(values["tally"]))


def _to_list(window: Window) -> list[int]:
    return [window.row, window.col, window.height, window.width]
