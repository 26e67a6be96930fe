"""The workers of a cluster that take part in a run: what they must be able to do, and who is there.

Workers come and go. Each is checked before it gets a task. With nobody left the run waits for a while,
because clusters start lost workers again, and then ends.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

from geoseg.errors import GeosegError, RunError, SettingsError
from geoseg.execute.dask.worker import SpecAddress, read_spec
from geoseg.inference.backends.device import has_bf16
from geoseg.progress import Progress
from geoseg.raster.source import GDAL_ERRORS
from geoseg.scene.scene import Scene
from geoseg.system.memory import keep_memory

GPU = "GPU"
"""The resource, in Dask's sense, of workers that have a GPU."""
_TOKEN = "token"
_NEW_WORKERS = 15.0
"""Seconds between two looks for workers that have joined a busy cluster, or can take part meanwhile."""
_PATIENCE = 300.0
"""Seconds to wait for a worker that can take part when none is left; ``docs/cluster.md`` says so."""


@dataclass(frozen=True)
class Requirements:
    """What every worker must be able to do.

    Attributes:
        address: Where the spec of the run is.
        token: What the file of that name in the work folder holds.
        runtime: The package that runs the network.
        version: Its version.
        device: Where the network runs.
        precision: What it computes in.
    """

    address: SpecAddress
    token: str
    runtime: str
    version: str | None
    device: str
    precision: str

    @property
    def on_gpu(self) -> bool:
        """Whether blocks are computed on GPUs."""
        return self.device.startswith("cuda")


def require(address: SpecAddress, runtime: str, device: str, precision: str) -> Requirements:
    """Require what this process has, and leave the token in the work folder."""
    token = uuid4().hex
    (Path(address.folder) / _TOKEN).write_text(token)
    return Requirements(address, token, runtime, _version(runtime), device, precision)


@dataclass(frozen=True)
class WorkerStatus:
    """What a worker says of itself.

    Attributes:
        reason: Why it cannot take part; None if it can.
        threads: Blocks that it may compute at once.
    """

    reason: str | None
    threads: int


class WorkerPool:
    """The workers that can take part in a run.

    Args:
        client: A ``distributed.Client``.
        wanted: What they must be able to do.
        are_ours: Whether geoseg started them; then they are all alike.
        progress: Told of workers that cannot take part, and when none is left.

    Raises:
        SettingsError: If nobody can take part.

    Attributes:
        slots: Blocks that are worth computing at once: one more than each worker can.
    """

    def __init__(self, client: Any, wanted: Requirements, *, are_ours: bool, progress: Progress) -> None:
        self._client, self._wanted, self._are_ours, self._progress = client, wanted, are_ours, progress
        self._statuses: dict[str, WorkerStatus] = {}
        self._named: set[str] = set()
        self._looked = self._asked = 0.0
        self._empty_since: float | None = None
        self.slots = 0
        self._update()
        if not self._fit:
            raise SettingsError("no Dask worker can take part in the run; see the warnings above")

    @property
    def members(self) -> frozenset[str] | None:
        """Addresses of those that may be given a task now; None where all may that ever come."""
        # One that geoseg started, and Dask started again, may go on at once.
        anyone = self._are_ours and len(self._fit) == len(self._statuses)
        return None if anyone else frozenset(self._fit)

    def submit(self, function: Any, *arguments: Any, priority: int = 0, on_gpu: bool = False) -> Any:
        """Give the workers a task; with ``on_gpu`` one that needs a GPU where the run is for GPUs.

        Returns:
            A ``distributed.Future``.
        """
        members = self.members
        return self._client.submit(
            function,
            *arguments,
            priority=priority,
            resources={GPU: 1} if on_gpu and self._wanted.on_gpu else None,
            workers=None if members is None else sorted(members),
            pure=False,
        )

    def cancel(self, futures: list[Any]) -> None:
        """Call tasks off."""
        self._client.cancel(futures)

    def watch(self, *, is_quiet: bool) -> bool:
        """See whether the workers are still there, and check new ones.

        Args:
            is_quiet: Whether no task has ended for a while; otherwise most calls do nothing.

        Returns:
            Whether somebody can work.

        Raises:
            RunError: If the scheduler is gone, or no worker is left and none comes.
        """
        if is_quiet or monotonic() - self._looked > _NEW_WORKERS:
            if self._client.status not in ("running", "connecting", "newly-created"):
                raise RunError("the connection to the Dask scheduler was lost")
            self._update()
            self._wait_or_go_on()
        return bool(self._fit)

    @property
    def _fit(self) -> dict[str, WorkerStatus]:
        return {worker: status for worker, status in self._statuses.items() if status.reason is None}

    def _update(self) -> None:
        """Check workers that are new; while nobody can work, all of them from time to time."""
        self._looked = monotonic()
        there = self._client.nthreads()
        is_stale = not self._fit and self._looked - self._asked > _NEW_WORKERS
        if there.keys() == self._statuses.keys() and not is_stale:
            return
        known = {worker: status for worker, status in self._fit.items() if worker in there}
        asked = [worker for worker in there if worker not in known]
        self._asked = monotonic()
        self._statuses = known | (check_workers(self._client, self._wanted, asked) if asked else {})
        for worker, status in self._statuses.items():
            if status.reason is not None and worker not in self._named:
                self._named.add(worker)
                self._progress.say(f"warning: Dask worker {worker} is not used: {status.reason}")
        self.slots = sum(min(status.threads, 2) + 1 for status in self._fit.values())

    def _wait_or_go_on(self) -> None:
        """Wait while nobody can take part, but not for ever; go on when somebody can."""
        if self._fit:
            if self._empty_since is not None:
                self._progress.say(f"going on with {len(self._fit)} Dask worker(s)")
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = monotonic()
            self._progress.say(
                "warning: no Dask worker that can take part is left; waiting "
                f"{_PATIENCE:.0f} s for one to join"
            )
        elif monotonic() - self._empty_since > _PATIENCE:
            raise RunError(f"no Dask worker that can take part has joined for {_PATIENCE:.0f} s")


def check_workers(client: Any, wanted: Requirements, workers: Collection[str]) -> dict[str, WorkerStatus]:
    """Ask workers whether they can take part.

    Args:
        client: A ``distributed.Client``.
        wanted: What they must be able to do.
        workers: Their addresses.

    Returns:
        Address of a worker -> what it says.
    """
    answers = client.run(check_this_worker, wanted, workers=list(workers), on_error="return")
    return {
        worker: answer
        if isinstance(answer, WorkerStatus)
        else WorkerStatus(f"geoseg cannot run there ({_one_line(answer)})", 0)
        for worker, answer in answers.items()
    }


def check_this_worker(wanted: Requirements, dask_worker: Any = None) -> WorkerStatus:
    """See in a worker whether it can do what is required, before anything is computed."""
    keep_memory()
    resources = dask_worker.state.total_resources
    threads = int(resources.get(GPU, 0)) if wanted.on_gpu else dask_worker.state.nthreads
    try:
        scene = read_spec(wanted.address).scene
        reason = (
            _reason_of_folder(wanted)
            or _reason_of_runtime(wanted, has_gpu=GPU in resources)
            or _reason_of_scene(scene)
        )
    except GeosegError as error:
        reason = str(error)
    return WorkerStatus(reason, threads)


def _reason_of_folder(wanted: Requirements) -> str | None:
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


def _reason_of_runtime(wanted: Requirements, *, has_gpu: bool) -> str | None:
    here = _version(wanted.runtime)
    if here != wanted.version:
        return f"it has {wanted.runtime} {here or '(none)'}, not {wanted.version}; install the same there"
    if wanted.on_gpu and not has_gpu:
        return "it does not offer the resource GPU; start it with --resources GPU=1"
    if wanted.precision == "bf16" and not has_bf16(wanted.device):
        return f"its {wanted.device} does not compute in bf16; use --precision fp32"
    return None


def _reason_of_scene(scene: Scene) -> str | None:
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
