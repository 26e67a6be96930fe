"""The blocks of an unfinished run on disk: what is finished, and what waits for neighbours.

Every file is a NumPy archive (``numpy.savez``, uncompressed: it is read once, soon, if ever), written beside
its place and renamed, so that a killed process leaves the whole file or none. A system that goes down may
still leave a torn one; the checksums of the archive tell when it is read, and what is damaged counts as not
there.
"""

from __future__ import annotations

import errno
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import RunError
from geoseg.execute.blocks import FinishedBlock, PendingBlock, SeamStrip
from geoseg.files import atomic, remove_temporary_files
from geoseg.grid import Window
from geoseg.inference.stitching import BlockGraph, Index, Margin, MarginPlace
from geoseg.inference.tally import Tally

T = TypeVar("T")
Arrays = Mapping[str, NDArray[Any]]

_BLOCKS, _MARGINS, _WAITING = "blocks", "margins", "pending"
_BLOCK, _PENDING = re.compile(r"r(\d+)c(\d+)\.block"), re.compile(r"r(\d+)c(\d+)\.pending")
_VALUES, _SUMS, _VALID, _MAP = "values", "sums", "valid", "map "
_DAMAGE = (zipfile.BadZipFile, ValueError, KeyError, EOFError, RuntimeError)
"""What reading a torn or altered archive raises, apart from "invalid argument" for a place before it."""


def wait_for(look: Callable[[], T | None], seconds: float = 15.0) -> T | None:
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


@dataclass(frozen=True)
class BlockStore:
    """Files of one run in one folder, which several processes may share.

    Whatever is put is written as a whole or not at all, and checked when it is taken; what is damaged counts
    as not there. Putting the same again does no harm: the bytes are the same.

    Attributes:
        folder: Where the files are.
    """

    folder: Path

    def make(self) -> None:
        """Make the folders, without what a killed process left half written; nobody else may be writing."""
        for name in (_BLOCKS, _MARGINS, _WAITING):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            remove_temporary_files(self.folder / name)

    def put_finished(self, block: FinishedBlock) -> None:
        """Keep a finished block.

        Raises:
            RunError: If the disk is full.
        """
        _write(self._block(block.index), _values_of(block), block.maps)

    def finished(self, index: Index) -> FinishedBlock | None:
        """Read a finished block; None if it is not there, or damaged."""
        found = _read(self._block(index))
        return None if found is None else _block_of(index, *found)

    def reload(self, index: Index) -> FinishedBlock:
        """Read a block that was finished before.

        Raises:
            RunError: If its file was damaged meanwhile.
        """
        block = self.finished(index)
        if block is None:
            raise RunError(
                f"{self.folder}: a finished block was damaged meanwhile; --resume computes it again"
            )
        return block

    def has_finished(self, index: Index) -> bool:
        """Whether the file of a finished block is there, whole or not."""
        return self._block(index).exists()

    def indices(self) -> Iterator[Index]:
        """List the blocks whose files are there, whole or not."""
        return _indices(self.folder / _BLOCKS, _BLOCK)

    def put_pending(self, pending: PendingBlock) -> None:
        """Keep a block that waits for its neighbours.

        Raises:
            RunError: If the disk is full.
        """
        arrays: dict[str, NDArray[Any]] = {
            f"{_MAP}{name}": pixels for name, pixels in pending.rendered.maps.items()
        }
        for number, strip in enumerate(pending.strips):
            arrays |= {f"{_SUMS}{number}": strip.sums, f"{_VALID}{number}": strip.valid}
        windows = [_to_list(strip.window) for strip in pending.strips]
        _write(self._pending(pending.index), _values_of(pending.rendered) | {"strips": windows}, arrays)

    def pending(self, index: Index) -> PendingBlock | None:
        """Read a block that waits for its neighbours; None if it is not there, or damaged."""
        found = _read(self._pending(index))
        if found is None:
            return None
        values, arrays = found
        maps = {name[len(_MAP) :]: array for name, array in arrays.items() if name.startswith(_MAP)}
        strips = [
            SeamStrip(Window(*window), arrays[f"{_SUMS}{number}"], arrays[f"{_VALID}{number}"])
            for number, window in enumerate(values["strips"])
        ]
        return PendingBlock(_block_of(index, values, maps), strips)

    def reload_pending(self, index: Index) -> PendingBlock:
        """Read a block that waits for its neighbours.

        Raises:
            RunError: If its file was damaged meanwhile.
        """
        pending = self.pending(index)
        if pending is None:
            raise RunError(f"{self.folder}: a block was damaged meanwhile; --resume computes it again")
        return pending

    def pending_indices(self) -> Iterator[Index]:
        """List the blocks that wait for their neighbours, by their files, whole or not."""
        return _indices(self.folder / _WAITING, _PENDING)

    def drop_pending(self, index: Index) -> None:
        """Remove a block that waits no more."""
        self._pending(index).unlink(missing_ok=True)

    def put_margin(self, margin: Margin) -> None:
        """Keep a margin for its owner.

        Raises:
            RunError: If the disk is full.
        """
        _write(self._margin(margin.place), asdict(margin.place), {_SUMS: margin.sums})

    def margin(self, place: MarginPlace) -> Margin | None:
        """Read a margin; None if it is not there, or damaged."""
        found = _read(self._margin(place))
        return None if found is None else Margin(place, found[1][_SUMS])

    def drop_margin(self, place: MarginPlace) -> None:
        """Remove a margin that its owner needs no more."""
        self._margin(place).unlink(missing_ok=True)

    def _block(self, index: Index) -> Path:
        return self.folder / _BLOCKS / f"r{index[0]}c{index[1]}.block"

    def _pending(self, index: Index) -> Path:
        return self.folder / _WAITING / f"r{index[0]}c{index[1]}.pending"

    def _margin(self, place: MarginPlace) -> Path:
        (row, col), (to_row, to_col) = place.source, place.owner
        return self.folder / _MARGINS / f"r{to_row}c{to_col}-of-r{row}c{col}.margin"


@dataclass(frozen=True)
class ResumeState:
    """What of a run need not be done any more.

    Attributes:
        finished: Blocks that are finished; their chips are not computed again, but for those in
            ``recompute``.
        without_margins: Those of them that had no chip to run, and so have left no margins.
        recompute: Those of them whose margins were lost before all who need them were finished. It takes a
            damaged disk.
        pending: Blocks that workers computed, with all their margins, and had not completed with those of
            their neighbours.
    """

    finished: frozenset[Index] = frozenset()
    without_margins: frozenset[Index] = frozenset()
    recompute: frozenset[Index] = frozenset()
    pending: frozenset[Index] = frozenset()

    def must_compute(self, index: Index) -> bool:
        """Whether a block's chips have to be run."""
        return not self.was_computed(index) or index in self.recompute

    def was_computed(self, index: Index) -> bool:
        """Whether an earlier run computed a block."""
        return index in self.finished or index in self.pending


def read_resume_state(store: BlockStore, graph: BlockGraph) -> ResumeState:
    """Read everything that is there and see what is whole.

    Raises:
        RunError: If the system cannot read a file.
    """
    has_margins: dict[Index, bool] = {}
    for index in store.indices():
        block = store.finished(index) if index in graph.blocks else None
        if block is not None:
            has_margins[index] = block.tally.chips > 0
    recompute = {
        place.source
        for index in graph.blocks
        if index not in has_margins
        for place in graph.received(index)
        if has_margins.get(place.source) and store.margin(place) is None
    }
    without_margins = (index for index, gave in has_margins.items() if not gave)
    pending = (
        index
        for index in store.pending_indices()
        if index in graph.blocks
        and index not in has_margins
        and store.pending(index) is not None
        and all(place.owner in has_margins or store.margin(place) is not None for place in graph.sent(index))
    )
    return ResumeState(
        frozenset(has_margins), frozenset(without_margins), frozenset(recompute), frozenset(pending)
    )


def cannot_write(path: Path, error: OSError) -> RunError:
    """Make the error that says why a file of the work folder cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(f"{path.parent}: the disk is full; make room, then --resume goes on")
    return RunError(f"{path} cannot be written ({error.strerror or error}); --resume tries again")


def _write(path: Path, values: Mapping[str, Any], arrays: Arrays) -> None:
    """Write JSON values and arrays; the file appears whole or not at all."""
    # The names are kept too: an altered directory may hide arrays, and no checksum covers it.
    text = np.frombuffer(json.dumps([sorted(arrays), values]).encode(), np.uint8)
    try:
        with atomic(path, sync=False) as part, part.open("xb") as file:  # a torn file is noticed
            np.savez(file, allow_pickle=False, **{_VALUES: text}, **arrays)
    except OSError as error:
        raise cannot_write(path, error) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
    """Read JSON values and arrays; None if there is no file, or it is damaged.

    Raises:
        RunError: If it is there and the system cannot read it.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        names, values = json.loads(arrays.pop(_VALUES).tobytes())
    except (FileNotFoundError, *_DAMAGE):
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise RunError(f"{path} cannot be read ({error.strerror}); --resume tries again") from error
    return (values, arrays) if sorted(arrays) == names else None


def _indices(folder: Path, names: re.Pattern[str]) -> Iterator[Index]:
    for path in folder.glob("r*c*"):
        match = names.fullmatch(path.name)
        if match is not None:
            yield int(match[1]), int(match[2])


def _values_of(block: FinishedBlock) -> dict[str, Any]:
    window = None if block.window is None else _to_list(block.window)
    return {"window": window, "counts": dict(block.counts), "tally": block.tally.to_json()}


def _block_of(index: Index, values: Mapping[str, Any], maps: Arrays) -> FinishedBlock:
    window = None if values["window"] is None else Window(*values["window"])
    return FinishedBlock(index, window, maps, values["counts"], Tally.from_json(values["tally"]))


def _to_list(window: Window) -> list[int]:
    return [window.row, window.col, window.height, window.width]
