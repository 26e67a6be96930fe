"""What a Dask worker does: it computes blocks and joins them, with files for everything that is large.

Tasks carry the address of the spec of a run and the index of a block, and return next to nothing. The spec
(scene, model, settings) is read once a process from the shared work folder, checked against the hash that
came with the task, and kept with the network that was loaded for it. Doing a task twice does no harm.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from geoseg.system.allocator import keep_memory

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
        (folder / _SPEC).write_bytes(content)
    except OSError as error:
        raise RunError(f"{folder / _SPEC} cannot be written ({error}); is the disk full?") from error
    return SpecAddress(str(folder.resolve()), hashlib.sha256(content).hexdigest())


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


class BlockWorker:
    """Computes and completes blocks of one run in a worker, with the network that was loaded for it."""

    def __init__(self, address: SpecAddress, forwards: int) -> None:
        keep_memory()
        # GDAL would keep up to a twentieth of the machine's memory in blocks that are never read again.
        os.environ.setdefault("GDAL_CACHEMAX", "256")
        self.spec = read_spec(address)
        self.graph = BlockGraph(self.spec.blocks)
        self.store = BlockStore(Path(address.folder))
        self._forwards = forwards
        self._lock = Lock()
        self._computer: BlockComputer | None = None

    @property
    def computer(self) -> BlockComputer:
        """Computes blocks; the network is loaded when the first one comes."""
        with self._lock:
            if self._computer is None:
                settings = replace(self.spec.settings, forwards=self._forwards)
                ingredients = replace(self.spec, settings=settings).ingredients(make_backend)
                self._computer = BlockComputer(ingredients, self._forwards)
            return self._computer

    def close(self) -> None:
        """End its threads."""
        if self._computer is not None:
            self._computer.close()

    def compute(self, index: Index) -> BlockResult:
        """Compute a block, leave its margins, and all of it that is final."""
        computed = self.computer.compute(self.graph.blocks[index])
        owners = [place.owner for place in self.graph.sent(index)]
        with computed.tally.spend("write"):
            send_margins(computed, _OnDisk(self.store, owners))
        pending = self.spec.renderer.render_interior(computed, self.graph.received(index))
        if not self.store.has_finished(index):
            if pending.strips:
                self.store.put_pending(pending)
            else:
                self.store.put_finished(pending.rendered)
        return BlockResult(index, is_finished=not pending.strips, gives=computed.total is not None)

    def join(self, index: Index, sources: Sequence[Index]) -> None:
        """Complete a block, unless a worker that was lost since has done so.

        Args:
            index: The block; it is computed.
            sources: The blocks whose margins it gets; they are computed, too.

        Raises:
            RunError: If something it needs was lost.
        """
        store, places = self.store, self.graph.received(index)
        if not store.has_finished(index):
            pending = wait_for(partial(store.pending, index))
            wanted = [place for place in places if place.source in sources]
            margins = [wait_for(partial(store.margin, place)) for place in wanted]
            received = [margin for margin in margins if margin is not None]
            if pending is None or len(received) < len(margins):
                raise RunError(
                    f"{store.folder}: what block {index} is made of was damaged; --resume computes it again"
                )
            store.put_finished(self.spec.renderer.complete(pending, received))
        store.drop_pending(index)
        for place in places:
            store.drop_margin(place)


@dataclass(frozen=True)
class BlockResult:
    """What became of a computed block.

    Attributes:
        index: The block's.
        is_finished: Whether it needs nothing of its neighbours.
        gives: Whether it had a chip to run, and so has left margins.
    """

    index: Index
    is_finished: bool
    gives: bool


@dataclass(frozen=True)
class _OnDisk:
    """Margins of which each is put where its owner will look for it."""

    store: BlockStore
    owners: Sequence[Index]

    def send(self, margin: Margin) -> None:
        owner = margin.place.owner
        if owner in self.owners and not self.store.has_finished(owner):
            self.store.put_margin(margin)
