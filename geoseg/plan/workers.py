"""Which processes do the work of a run: this one, workers of its own, or those of a cluster."""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.errors import SettingsError
from geoseg.plan.settings import ComputeOptions

_LEAST_BLOCKS_A_GPU = 2
"""Starting a process takes seconds, which fewer blocks do not pay for."""


@dataclass(frozen=True)
class Workers:
    """The workers of a run.

    Attributes:
        count: Processes to start on this machine; 0 for none.
        address: A scheduler's, as in ``tcp://host:8786``; None for none.
        on_gpu: Whether they compute on GPUs; those that are started get one each, in turn.
        gpus: GPUs of this machine.
    """

    count: int = 0
    address: str | None = None
    on_gpu: bool = False
    gpus: int = 0

    @property
    def are_elsewhere(self) -> bool:
        """Whether other processes than this one compute blocks."""
        return self.count > 0 or self.address is not None


def check_workers(asked: ComputeOptions) -> None:
    """Refuse options for workers that contradict each other.

    Raises:
        SettingsError: Naming the flags.
    """
    workers, dask = asked.workers, asked.dask
    if workers is not None and dask is not None:
        raise SettingsError(
            "--workers starts workers here, --dask uses those of a cluster; give one of the two"
        )
    if workers is not None and workers < 1:
        raise SettingsError(f"--workers must be at least 1, not {workers}")
    if dask is not None and "://" not in dask:
        raise SettingsError(f"--dask {dask}: write a scheduler's address, as in tcp://host:8786")
    if asked.concurrency is not None and (workers is not None or dask is not None):
        raise SettingsError(
            "--concurrency is for runs without workers; a worker has one for each of its threads"
        )


def choose_workers(asked: ComputeOptions, device: str, blocks: int) -> Workers:
    """Choose who computes: by default one worker for each GPU where there are several and none was named.

    Args:
        asked: What the user wants.
        device: The device that was resolved.
        blocks: Blocks of the run.
    """
    workers, dask = asked.workers, asked.dask
    if not device.startswith("cuda"):
        return Workers(workers or 0, dask)
    if dask is not None:
        return Workers(0, dask, on_gpu=True)
    gpus = _count_gpus()
    takes_all = asked.device in ("auto", "cuda") and gpus > 1 and blocks >= _LEAST_BLOCKS_A_GPU * gpus
    return Workers(workers or (gpus if takes_all else 0), on_gpu=True, gpus=gpus)


def _count_gpus() -> int:
    import torch

    return int(torch.cuda.device_count())
