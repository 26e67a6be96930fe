"""What a Dask worker does: compute blocks and complete them, with files for everything that is large.

A task carries the address of the run's spec and the index of a block, and returns some bytes. The spec
(scene, model, settings) is read once a process from the shared work folder, checked against the hash that
came with the task, and kept with the network that was loaded for it. Doing a task again does no harm, and
takes little time where the files that it leaves are there.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Lock

from geoseg._version import __version__
from geoseg.errors import RunError
from geoseg.execute.block_store import BlockStore, wait_for
from geoseg.execute.spec import RunSpec
from geoseg.inference.backends.make import make_backend
from geoseg.inference.compute import BlockComputer
from geoseg.inference.stitching import BlockGraph, Index, Margin, send_margins
from geoseg.system.memory import keep_memory, peak_memory

_SPEC = "spec"


@dataclass(frozen=True)
class SpecAddress:
    """Where a worker finds the spec of its run.

    Attributes:
        folder: The work folder, an absolute path that all workers see.
        digest: SHA-256 of the file, hexadecimal.
    """

    folder: str
    digest: str


def write_spec(spec: RunSpec, folder: Path) -> SpecAddress:
    """Leave the spec of a run in its work folder.

    Raises:
        RunError: If the disk is full.
    """
    # The version comes first, so that another one is told before anything is unpickled.
    content = f"{__version__}\n".encode() + pickle.dumps(spec, protocol=pickle.HIGHEST_PROTOCOL)
    try:
        # The scene's address may hold a secret, so that nobody else reads it, and it goes with the run.
        with open(folder / _SPEC, "wb", opener=partial(os.open, mode=0o600)) as file:
            file.write(content)
    except OSError as error:
        raise RunError(f"{folder / _SPEC} cannot be written ({error}); is the disk full?") from error
    return SpecAddress(str(folder.resolve()), hashlib.sha256(content).hexdigest())


def remove_spec(folder: Path) -> None:
    """Remove the spec of a run that has ended from its work folder."""
    (folder / _SPEC).unlink(missing_ok=True)


def read_spec(address: SpecAddress) -> RunSpec:
    """Read the spec of a run.

    Raises:
        RunError: If it is not there, not the one that was written, or of another version of geoseg.
    """
    path = Path(address.folder) / _SPEC
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(
            f"it does not see the work folder {address.folder} ({error.strerror}); outputs must lie where "
            "all workers can read and write under the same path"
        ) from error
    if hashlib.sha256(content).hexdigest() != address.digest:
        raise RunError(f"{path} is not the spec of this run")
    version, _, pickled = content.partition(b"\n")
    if version.decode() != __version__:
        raise RunError(f"it has geoseg {__version__}, not {version.decode()}; install the same everywhere")
    spec: RunSpec = pickle.loads(pickled)  # noqa: S301 -- the hash came from the process that gave the task
    return spec


@dataclass(frozen=True)
class BlockResult:
    """What a task returns of a block.

    Attributes:
        index: The block's.
        is_finished: Whether it needs nothing of its neighbours any more.
        has_margins: Whether a chip of it was run, so that its neighbours get margins.
        peaks: Name of a worker -> the most bytes of memory that its process took so far; of all workers that
            did something for the block, as far as their systems say.
    """

    index: Index
    is_finished: bool
    has_margins: bool
    peaks: Mapping[str, int] = field(default_factory=dict)


def compute_block(address: SpecAddress, index: Index) -> BlockResult:
    """Compute a block; see ``BlockWorker.compute``."""
    result = _block_worker(address).compute(index)
    return replace(result, peaks=_own_peak())


def complete_block(address: SpecAddress, computed: BlockResult, *sources: BlockResult) -> BlockResult:
    """Complete a block; see ``BlockWorker.complete``.

    Args:
        address: Where the spec of the run is.
        computed: What computing the block returned.
        sources: What computing those returned that share chips with it, above and to the left.
    """
    _block_worker(address).complete(computed, sources)
    peaks: dict[str, int] = {}
    for noted in (*(result.peaks for result in (computed, *sources)), _own_peak()):
        for worker, peak in noted.items():
            peaks[worker] = max(peak, peaks.get(worker, 0))
    return replace(computed, is_finished=True, peaks=peaks)


class BlockWorker:
    """What a worker keeps for a run: the spec, and the network that was loaded for it.

    Args:
        address: Where the spec is.
        threads: Tasks that the worker runs at once.
    """

    def __init__(self, address: SpecAddress, threads: int) -> None:
        keep_memory()
        # GDAL would keep up to a twentieth of the machine's memory in blocks that are never read again.
        os.environ.setdefault("GDAL_CACHEMAX", "256")
        spec = read_spec(address)
        self.spec = replace(spec, settings=replace(spec.settings, concurrency=threads))
        self.graph = BlockGraph(spec.blocks)
        self.store = BlockStore(Path(address.folder))
        self._lock = Lock()
        self._computer: BlockComputer | None = None

    @property
    def computer(self) -> BlockComputer:
        """Computes blocks; the network is loaded when the first one comes."""
        with self._lock:
            if self._computer is None:
                ingredients = self.spec.ingredients(make_backend)
                self._computer = BlockComputer(ingredients, self.spec.settings.concurrency)
            return self._computer

    def close(self) -> None:
        """End its threads."""
        if self._computer is not None:
            self._computer.close()

    def compute(self, index: Index) -> BlockResult:
        """Compute a block, and leave its margins and all of it that is final; nothing if that is there."""
        earlier = self._computed_earlier(index)
        if earlier is not None:
            return earlier
        computed = self.computer.compute(self.graph.blocks[index])
        owners = [place.owner for place in self.graph.sent(index)]
        with computed.tally.spend("write"):
            send_margins(computed, _MarginsOnDisk(self.store, owners))
        pending = self.spec.renderer.render_interior(computed, self.graph.received(index))
        if not self.store.has_finished(index):
            # Margins are there before this is: whoever finds it need not compute the block again.
            if pending.strips:
                self.store.put_pending(pending)
            else:
                self.store.put_finished(pending.rendered)
        return BlockResult(index, is_finished=not pending.strips, has_margins=computed.total is not None)

    def _computed_earlier(self, index: Index) -> BlockResult | None:
        """See whether a worker that was lost since has computed a block, with all its margins."""
        store, finished = self.store, self.store.finished(index)
        pending = store.pending(index) if finished is None else None
        block = pending.rendered if pending is not None else finished
        if block is None:
            return None
        has_margins = block.tally.chips > 0
        if has_margins and not all(
            store.has_finished(place.owner) or store.margin(place) is not None
            for place in self.graph.sent(index)
        ):
            return None
        return BlockResult(index, is_finished=finished is not None, has_margins=has_margins)

    def complete(self, computed: BlockResult, sources: Sequence[BlockResult]) -> None:
        """Complete a block with the margins of others, unless that was done.

        Raises:
            RunError: If a file that it needs was lost.
        """
        store, index = self.store, computed.index
        places = self.graph.received(index)
        if not computed.is_finished and not store.has_finished(index):
            with_margins = {source.index for source in sources if source.has_margins}
            pending = wait_for(partial(store.pending, index))
            margins = [
                wait_for(partial(store.margin, place)) for place in places if place.source in with_margins
            ]
            received = [margin for margin in margins if margin is not None]
            if pending is not None and len(received) == len(margins):
                store.put_finished(self.spec.renderer.complete(pending, received))
            elif not store.has_finished(index):  # a worker that was taken for lost may have done it
                raise RunError(
                    f"{store.folder}: what block {index} is made of was damaged; --resume computes it again"
                )
        store.drop_pending(index)
        for place in places:
            store.drop_margin(place)


@dataclass(frozen=True)
class _MarginsOnDisk:
    """Margins of which each is put where the block that owns its pixels will look for it."""

    store: BlockStore
    owners: Sequence[Index]

    def send(self, margin: Margin) -> None:
        owner = margin.place.owner
        if owner in self.owners and not self.store.has_finished(owner):
            self.store.put_margin(margin)


_lock = Lock()
_block_workers: dict[SpecAddress, BlockWorker] = {}


def _block_worker(address: SpecAddress) -> BlockWorker:
    """Give this process's worker of a run, made by the first task; that of an earlier run is given up."""
    from distributed import get_worker

    with _lock:
        if address not in _block_workers:
            for old in list(_block_workers):
                _block_workers.pop(old).close()
            _block_workers[address] = BlockWorker(address, int(get_worker().state.nthreads))
        return _block_workers[address]


def _own_peak() -> dict[str, int]:
    from distributed import get_worker

    return {str(get_worker().name): peak_memory()}
