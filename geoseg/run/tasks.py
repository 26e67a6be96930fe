"""The tasks that Dask workers run; what they share in a process is the bench of the run at hand."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

from geoseg.inference.margins import Index
from geoseg.run.bench import Address, Bench, Outcome

_lock = Lock()
_benches: dict[Address, Bench] = {}


def compute_block(address: Address, index: Index) -> Outcome:
    """Compute a block; see ``Bench.compute``."""
    return _bench(address).compute(index)


def join_block(address: Address, index: Index, givers: Sequence[Index]) -> Index:
    """Join a block; see ``Bench.join``."""
    _bench(address).join(index, givers)
    return index


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
