"""Dask clusters: workers that are started here, or those of an existing cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from geoseg.errors import SettingsError
from geoseg.execute.dask.pool import GPU
from geoseg.plan.workers import Workers
from geoseg.progress import Progress
from geoseg.system.memory import environment_that_keeps_memory

_THREADS_A_GPU = 2
"""So that one block is read, or written, while another one computes."""
_PATIENCE = 60.0
"""Seconds to wait for a scheduler and its first worker."""
_CALM = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.tick.limit": "60s",
}
"""Otherwise Dask samples the threads of workers all the time, and wakes every process 50 times a second."""


@contextmanager
def open_cluster(workers: Workers, progress: Progress) -> Iterator[Any]:
    """Start workers, or connect to those of a cluster.

    Args:
        workers: Which ones.
        progress: Told where the dashboard is.

    Yields:
        A ``distributed.Client``; workers that were started here end with the context.

    Raises:
        SettingsError: If there is no scheduler at the address, or it has no worker.
    """
    from distributed import Client

    with _started(workers) if workers.count else _connected(workers, progress) as where:
        try:
            client = Client(where, timeout=_PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            raise SettingsError(f"--dask {workers.address}: no scheduler answers there ({error})") from error
        with client:
            progress.say(f"Dask dashboard: {client.dashboard_link}")
            try:
                client.wait_for_workers(max(1, workers.count), timeout=_PATIENCE)
            except TimeoutError as error:
                raise SettingsError(_nobody_came(workers)) from error
            yield client


def _nobody_came(workers: Workers) -> str:
    if workers.count:
        return f"--workers {workers.count}: they did not all start within {_PATIENCE:.0f} s"
    return (
        f"--dask {workers.address}: no worker came within {_PATIENCE:.0f} s; start workers that connect to "
        "the scheduler"
    )


@contextmanager
def _connected(workers: Workers, progress: Progress) -> Iterator[Any]:
    progress.say(f"connecting to the Dask scheduler at {workers.address}")
    yield workers.address


@contextmanager
def _started(workers: Workers) -> Iterator[Any]:
    """Start workers on this machine, each a process that is started again if it dies."""
    import dask
    from distributed import Nanny, Scheduler, SpecCluster

    # Without Dask's memory limit, which would pause and kill workers: they keep memory for the next block,
    # and the plan of the run bounds it.
    options: dict[str, Any] = {"nthreads": 1, "memory_limit": 0, "silence_logs": logging.CRITICAL}
    options["preload"] = ["geoseg.execute.dask.worker_start"]
    if workers.on_gpu:
        options |= {"nthreads": _THREADS_A_GPU, "resources": {GPU: _THREADS_A_GPU}}
    specs = {
        number: {"cls": Nanny, "options": options | {"env": _gpu_of(number, workers)}}
        for number in range(workers.count)
    }
    place = {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:8787"}
    scheduler = {"cls": Scheduler, "options": place}
    # A worker's threads run inferences; libraries start none of their own.
    before_start = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    before_start |= environment_that_keeps_memory()
    with (
        _same_environment_afterwards(),
        dask.config.set({"distributed.nanny.pre-spawn-environ": before_start} | _CALM),
        SpecCluster(specs, scheduler=scheduler, silence_logs=logging.CRITICAL) as cluster,
    ):
        yield cluster


@contextmanager
def _same_environment_afterwards() -> Iterator[None]:
    """Take back what nannies set for their workers, which would stay set in this process."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


def _gpu_of(number: int, workers: Workers) -> dict[str, str]:
    """Give the variables that show a worker its GPU and no other."""
    return {"CUDA_VISIBLE_DEVICES": str(number % workers.gpus)} if workers.gpus else {}
