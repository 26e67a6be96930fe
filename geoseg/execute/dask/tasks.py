"""The tasks that Dask workers run; what they share in a process is the bench of the run at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from geoseg.execute.dask.worker import Address, Bench, Outcome
from geoseg.inference.margins import Index
from geoseg.system.memory import peak_memory

_lock = Lock()
_benches: dict[Address, Bench] = {}


@dataclass(frozen=True)
class Done:
    """What a worker says when it has done a task.

    Attributes:
        result: What came of it: of a block that was computed its outcome, of one that was joined its index.
        worker: The worker's name.
        peak: The most bytes of memory that its process took so far; None where the system does not say.
    """

    result: Outcome | Index
    worker: str
    peak: int | None


def compute_block(address: Address, index: Index) -> Done:
    """Compute a block; see ``Bench.compute``."""
    return _done(_bench(address).compute(index))


def join_block(address: Address, index: Index, givers: Sequence[Index]) -> Done:
    """Join a block; see ``Bench.join``."""
    _bench(address).join(index, givers)
    return _done(index)


def _done(result: Outcome | Index) -> Done:
    from distributed import get_worker

    return Done(result, str(get_worker().name), peak_memory())


def _bench(address: Address) -> Bench:
    """The bench of a run, set up by the first task that needs it; that of an earlier run is given up."""
    with _lock:
        if address not in _benches:
            for old in list(_benches):
                _benches.pop(old).close()
            _benches[address] = Bench(address, _threads())
        return _benches[address]


def _threads() -> int:
    from distributed import get_worker

    return int(get_worker().state.nthreads)
