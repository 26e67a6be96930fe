"""The tasks that Dask workers run; what they share in a process is the block worker of the run at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from geoseg.execute.dask.worker import BlockResult, BlockWorker, SpecAddress
from geoseg.inference.stitching import Index
from geoseg.system.memory import peak_memory

_lock = Lock()
_workeres: dict[SpecAddress, BlockWorker] = {}


@dataclass(frozen=True)
class Done:
    """What a worker says when it has done a task.

    Attributes:
        result: What came of it: of a block that was computed its outcome, of one that was joined its index.
        worker: The worker's name.
        peak: The most bytes of memory that its process took so far.
    """

    result: BlockResult | Index
    worker: str
    peak: int


def compute_block(address: SpecAddress, index: Index) -> Done:
    """Compute a block; see ``BlockWorker.compute``."""
    return _done(_worker(address).compute(index))


def join_block(address: SpecAddress, index: Index, sources: Sequence[Index]) -> Done:
    """Join a block; see ``BlockWorker.join``."""
    _worker(address).join(index, sources)
    return _done(index)


def _done(result: BlockResult | Index) -> Done:
    from distributed import get_worker

    return Done(result, str(get_worker().name), peak_memory())


def _worker(address: SpecAddress) -> BlockWorker:
    """The worker of a run, set up by the first task that needs it; that of an earlier run is given up."""
    with _lock:
        if address not in _workeres:
            for old in list(_workeres):
                _workeres.pop(old).close()
            _workeres[address] = BlockWorker(address, _threads())
        return _workeres[address]


def _threads() -> int:
    from distributed import get_worker

    return int(get_worker().state.nthreads)
