"""The blocks of an unfinished run on disk: what is finished, and the margins that wait for their takers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from geoseg.grid import Window
from geoseg.inference.margins import Index, Margin, MarginPlace
from geoseg.inference.tally import Tally
from geoseg.run.finished import FinishedBlock
from geoseg.run.work_file import PART, Content, read_work, write_work

_BLOCK = re.compile(r"r(\d+)c(\d+)\.block")
_SUMS = "sums"


class WorkStore:
    """Files of one run in one folder, which several processes may share.

    Whatever is put is written as a whole or not at all, and checked when it is taken; what is damaged counts
    as not there. Putting the same again does no harm: the bytes are the same.

    Args:
        folder: Where the files are; made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blocks, self._margins = folder / "blocks", folder / "margins"

    def make(self) -> None:
        """Make the folders."""
        for folder in (self._blocks, self._margins):
            folder.mkdir(parents=True, exist_ok=True)

    def put_finished(self, block: FinishedBlock) -> None:
        """Keep a finished block.

        Raises:
            RunError: If the disk is full.
        """
        window = block.window
        values = {
            "window": None if window is None else [window.row, window.col, window.height, window.width],
            "counts": dict(block.counts),
            "tally": block.tally.to_json(),
        }
        write_work(self._block(block.index), Content(values, block.maps))

    def finished(self, index: Index) -> FinishedBlock | None:
        """A finished block; None if it is not there, or damaged."""
        content = read_work(self._block(index))
        if content is None:
            return None
        values = content.values
        window = None if values["window"] is None else Window(*values["window"])
        return FinishedBlock(
            index, window, content.arrays, values["counts"], Tally.from_json(values["tally"])
        )

    def has_finished(self, index: Index) -> bool:
        """Whether the file of a finished block is there, whole or not."""
        return self._block(index).exists()

    def indices(self) -> Iterator[Index]:
        """The blocks whose files are there, whole or not."""
        for path in self._blocks.glob("r*c*.block"):
            match = _BLOCK.fullmatch(path.name)
            if match is not None:
                yield int(match[1]), int(match[2])

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
        for folder in (self._blocks, self._margins):
            for path in folder.glob(f".*{PART}"):
                path.unlink(missing_ok=True)

    def _block(self, index: Index) -> Path:
        return self._blocks / f"r{index[0]}c{index[1]}.block"

    def _margin(self, place: MarginPlace) -> Path:
        (row, col), (to_row, to_col) = place.giver, place.taker
        return self._margins / f"r{to_row}c{to_col}-of-r{row}c{col}.margin"
