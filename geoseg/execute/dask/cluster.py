"""Dask clusters: workers that are started here, or an existing cluster that is joined and looked over."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

from geoseg.errors import GeosegError, SettingsError
from geoseg.execute.dask.worker import SpecAddress, read_spec
from geoseg.inference.backends.convert import RUNTIMES
from geoseg.inference.backends.device import has_bf16
from geoseg.plan.settings import Settings
from geoseg.plan.workers import Workers
from geoseg.progress import Progress
from geoseg.raster.source import GDAL_ERRORS
from geoseg.scene import Scene
from geoseg.system.allocator import environment_that_keeps_memory, keep_memory

GPU = "GPU"
_THREADS_A_GPU = 2
"""So that one block is read, or written, while another one computes."""
_PATIENCE = 60.0
"""Seconds to wait for a scheduler and its first worker."""
_TOKEN = "token"
_CALM = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.tick.limit": "60s",
}
"""Dask would look at every thread of a worker all the time, and wake every process fifty times a second."""


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
    """Workers on this machine, each a process that is started again if it dies."""
    import dask
    from distributed import Nanny, Scheduler, SpecCluster

    # Dask's own watch over memory is off: it would pause and kill workers that keep their memory for the next
    # block, as they are told to. Memory is bounded by planning.
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
    # Threads are the forwards', never a library's own.
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
    """What a nanny sets for its worker stays set in this process; take it back."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


def _gpu_of(number: int, workers: Workers) -> dict[str, str]:
    """What shows a worker its GPU and no other."""
    return {"CUDA_VISIBLE_DEVICES": str(number % workers.gpus)} if workers.gpus else {}


@dataclass(frozen=True)
class Requirements:
    """What every worker must be able to do.

    Attributes:
        address: Where the spec lies.
        token: What the file of that name in the work folder holds.
        runtime: The package that runs the network.
        version: Its version.
        settings: Of the run.
    """

    address: SpecAddress
    token: str
    runtime: str
    version: str | None
    settings: Settings


def require(address: SpecAddress, settings: Settings) -> Requirements:
    """What workers are asked for; leaves the token in the work folder."""
    token = uuid4().hex
    (Path(address.folder) / _TOKEN).write_text(token)
    runtime = RUNTIMES.get(settings.backend, "torch")
    return Requirements(address, token, runtime, _version(runtime), settings)


@dataclass(frozen=True)
class Found:
    """What a worker says of itself.

    Attributes:
        unfit: Why it cannot take part; None if it can.
        threads: Blocks it may compute at once.
    """

    unfit: str | None
    threads: int


def look_over(client: Any, wanted: Requirements) -> dict[str, Found]:
    """Ask every worker whether it can take part.

    Returns:
        Address of the worker -> what it says.
    """
    answers = client.run(introduce, wanted, on_error="return")
    return {
        worker: answer
        if isinstance(answer, Found)
        else Found(f"geoseg cannot run there ({_one_line(answer)})", 0)
        for worker, answer in answers.items()
    }


def introduce(wanted: Requirements, dask_worker: Any = None) -> Found:
    """Runs in a worker: see whether it can do what is asked, before anything is computed."""
    keep_memory()
    resources = dask_worker.state.total_resources
    on_gpu = wanted.settings.device.startswith("cuda")
    threads = int(resources.get(GPU, 0)) if on_gpu else dask_worker.state.nthreads
    try:
        return Found(_unfit(wanted, has_gpu=GPU in resources), threads)
    except GeosegError as error:
        return Found(str(error), threads)


def _unfit(wanted: Requirements, *, has_gpu: bool) -> str | None:
    """Why this worker cannot take part; None if it can."""
    spec = read_spec(wanted.address)
    return _folder_unfit(wanted) or _runtime_unfit(wanted, has_gpu=has_gpu) or _scene_unfit(spec.scene)


def _folder_unfit(wanted: Requirements) -> str | None:
    folder = Path(wanted.address.folder)
    try:
        if (folder / _TOKEN).read_text() != wanted.token:
            return f"its {folder} is another folder than the one of this run"
        probe = folder / f".{uuid4().hex}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return f"it cannot read and write in {folder} ({error.strerror})"
    return None


def _runtime_unfit(wanted: Requirements, *, has_gpu: bool) -> str | None:
    settings, here = wanted.settings, _version(wanted.runtime)
    if here != wanted.version:
        return f"it has {wanted.runtime} {here or '(none)'}, not {wanted.version}; install the same there"
    if settings.device.startswith("cuda") and not has_gpu:
        return "it does not offer the resource GPU; start it with --resources GPU=1"
    if settings.precision == "bf16" and not has_bf16(settings.device):
        return f"its {settings.device} does not compute in bf16; use --precision fp32"
    return None


def _scene_unfit(scene: Scene) -> str | None:
    try:
        for files in scene.stacks:
            files[0].source.open().close()
    except GDAL_ERRORS as error:
        return f"it cannot open the scene ({_one_line(error)})"
    return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _one_line(error: Any) -> str:
    return " ".join(str(error).split()) or type(error).__name__
