"""The batch of a GPU: as asked for or by default, or half of it as often as memory runs out.

The shape of a forward is part of the answer, so it is settled before the first block and never changed in a
run.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geoseg.errors import RunError
from geoseg.inference.throttle import is_out_of_memory
from geoseg.plan.prepare import Job
from geoseg.plan.settings import Settings, make_backend


def settle_batch(job: Job) -> Job:
    """Halve the batch until a forward fits into the memory of the GPU.

    Args:
        job: A run; nothing is tried where it computes on a CPU, or in other processes.

    Returns:
        The job with the batch that fits; what was changed stands among its warnings.

    Raises:
        RunError: If a single chip is too much.
    """
    settings = job.settings
    if not settings.device.startswith("cuda") or job.workers.are_elsewhere:
        return job
    asked = settings.batch_size
    while not _fits(job, settings):
        if settings.batch_size == 1:
            raise RunError(
                f"{settings.device} has too little memory for one chip of {settings.chip_size} pixels; "
                "use --precision bf16, another GPU, or --device cpu"
            )
        settings = replace(settings, batch_size=settings.batch_size // 2)
    if settings.batch_size == asked:
        return job
    warning = (
        f"{settings.device} has too little memory for batches of {asked} chips: --batch-size "
        f"{settings.batch_size} instead, which may change single pixels"
    )
    return replace(job, settings=settings, warnings=(*job.warnings, warning))


def _fits(job: Job, settings: Settings) -> bool:
    shape = (settings.batch_size, len(settings.bands), settings.chip_size, settings.chip_size)
    try:
        make_backend(job.model, settings).probabilities(np.zeros(shape, np.float32))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        _release()
    return True


def _release() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
