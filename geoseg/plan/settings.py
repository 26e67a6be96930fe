"""The settings of a run, resolved: every ``auto`` and default replaced by what is used.

Larger chips share less of themselves with their neighbours, and some sizes happen to end where the scene
does. The choice depends on the model and the size of the scene alone, so that it is the same on every machine
and for every area of interest; where most of a scene is nodata it need not be the best.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import lcm
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.errors import RunError, SettingsError, is_out_of_memory
from geoseg.grid import Grid
from geoseg.inference.backends.choose import convert_or_torch, resolve_backend
from geoseg.inference.backends.make import make_backend
from geoseg.inference.backends.torch_ import GPU_BATCH_SIZE
from geoseg.inference.backends.tta import SYMMETRIES
from geoseg.models.conversion import ChipShape
from geoseg.models.model import Model
from geoseg.progress import Progress, Silent
from geoseg.system.cpu import cores

if TYPE_CHECKING:  # workers refine nothing
    from geoseg.refine.request import Refinement

BLOCK_SIZE = 2048


@dataclass(frozen=True)
class Settings:
    """How a scene is predicted.

    Attributes:
        bands: The scene's band numbers, in the model's order.
        chip_size: Side of a chip in pixels.
        overlap: Pixels that neighbouring chips share.
        batch_size: Chips a forward.
        backend: What runs the network.
        device: Where it runs.
        precision: What it computes in.
        tta: Test-time augmentation.
        temperature: Divides the logits; 1 when the model is uncalibrated.
        block_size: Side of a block in pixels; never changes the answer.
        concurrency: Inferences in flight at once; never changes the answer.
        refine: Refine steps, or None.
        concurrency_by: How their number was chosen: ``"asked"``; ``"cores"``, one for each processor;
            ``"memory"``, fewer because that allows no more; ``"workers"``, one for each of their threads;
            ``"device"``, two on an accelerator.
    """

    bands: tuple[int, ...]
    chip_size: int
    overlap: int
    batch_size: int
    backend: str
    device: str
    precision: str
    tta: str
    temperature: float
    block_size: int
    concurrency: int
    refine: Refinement | None = None
    concurrency_by: str = "cores"

    def that_change_the_answer(self) -> dict[str, str]:
        """Give the settings to keep with a map, as text; the device by its kind."""
        kept = asdict(self)
        del kept["block_size"], kept["concurrency"], kept["concurrency_by"], kept["refine"]
        kept["device"] = self.device.split(":")[0]
        kept["bands"] = ",".join(map(str, self.bands))
        if self.refine is not None:
            kept["refine"] = self.refine.text(by_probability=True)
        return {key: str(value) for key, value in kept.items()}

    def to_json(self) -> dict[str, Any]:
        """Give the settings as JSON values."""
        refine = None if self.refine is None else self.refine.to_json()
        return asdict(self) | {"bands": list(self.bands), "refine": refine}


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """What the user wants of the computation; None and ``"auto"`` leave it to the model and this machine.

    Attributes:
        chip_size: See ``Settings``, as for all of these; ``"auto"`` computes the fewest pixels for a scene.
        overlap: At most half a chip.
        batch_size: At least 1.
        block_size: At least 1.
        backend: A key of ``inference.backends.BACKENDS``, or ``"auto"``.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.
        precision: One of ``device.PRECISIONS``.
        tta: A key of ``SYMMETRIES``.
        concurrency: At least 1.
        workers: Processes to start on this machine.
        dask: Address of a scheduler; its workers have devices that this machine may lack.
    """

    chip_size: int | str | None = None
    overlap: int | None = None
    batch_size: int | None = None
    block_size: int | None = None
    backend: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    tta: str = "none"
    concurrency: int | None = None
    workers: int | None = None
    dask: str | None = None


def resolve_settings(
    model: Model,
    bands: tuple[int, ...],
    asked: ComputeOptions,
    *,
    shape: tuple[int, int] | None = None,
    refine: Refinement | None = None,
    progress: Progress | None = None,
) -> Settings:
    """Replace defaults by the model package's values and ``auto`` by what this machine has.

    A backend that runs a converted network gets it now, so that what cannot be converted is known in time.

    Args:
        model: The model.
        bands: The scene's band numbers, in the model's order.
        asked: What the user wants.
        shape: (rows, columns) of the scene, which a chip size of ``"auto"`` needs.
        refine: Refine steps, or None.
        progress: Told what takes a while.

    Raises:
        SettingsError: If a setting cannot work.
        ModelError: If the backend cannot run the network.
    """
    chip_size = resolve_chip_size(asked.chip_size, model, asked.overlap, shape)
    overlap = min(model.card.overlap, chip_size // 2) if asked.overlap is None else asked.overlap
    counts = {"chip_size": chip_size} | {
        name: getattr(asked, name) for name in ("batch_size", "block_size", "concurrency")
    }
    for name, value in counts.items():
        if value is not None and value < 1:
            raise SettingsError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
    model.check_chip_size(chip_size)
    tta = asked.tta
    if tta not in SYMMETRIES:
        raise SettingsError(f"--tta {tta}: use one of {', '.join(SYMMETRIES)}")
    resolved, device, precision = resolve_backend(
        asked.backend,
        asked.device,
        asked.precision,
        has_torch=model.config is not None,
        elsewhere=asked.dask is not None,
    )
    on_cpu = device == "cpu"
    batch_size = asked.batch_size or (1 if on_cpu else GPU_BATCH_SIZE)
    chips = ChipShape(batch_size, len(model.card.bands), chip_size)
    chosen = asked.backend == "auto"
    concurrency, concurrency_by = _concurrency(asked, on_cpu=on_cpu)
    return Settings(
        bands=bands,
        chip_size=chip_size,
        overlap=overlap,
        batch_size=batch_size,
        backend=convert_or_torch(model, resolved, precision, chips, progress or Silent(), chosen=chosen),
        device=device,
        precision=precision,
        tta=tta,
        temperature=model.card.temperatures.get(tta, 1.0),
        block_size=asked.block_size or BLOCK_SIZE,
        concurrency=concurrency,
        refine=refine,
        concurrency_by=concurrency_by,
    )


def _concurrency(asked: ComputeOptions, *, on_cpu: bool) -> tuple[int, str]:
    """Choose how many inferences are worth having in flight; also give how they were chosen."""
    if asked.concurrency is not None:
        return asked.concurrency, "asked"
    if not on_cpu:
        return 2, "device"
    if asked.workers is not None or asked.dask is not None:
        return 1, "workers"
    return cores(), "cores"


AUTO = "auto"

_LARGEST_CHIP = 1536
"""Pixels a side: chips of 2048 would compute some two percent less and be nearly twice as large."""
_FEWEST_CHIPS = 32
"""Chips of a scene: fewer would leave cores idle while the last ones are computed."""


def resolve_chip_size(
    asked: int | str | None, model: Model, overlap: int | None, shape: tuple[int, int] | None
) -> int:
    """Choose the side of the chips of a run.

    Args:
        asked: What the user says: pixels, ``"auto"``, or None for the model's.
        model: The model.
        overlap: What the user says of it, or None.
        shape: (rows, columns) of the scene; None where ``"auto"`` is not known.

    Raises:
        SettingsError: If ``asked`` is neither a number nor a word that is known here.
    """
    if asked is None:
        return model.card.chip_size
    if not isinstance(asked, str):
        return asked
    if asked != AUTO or shape is None:
        raise SettingsError(f"--chip-size {asked}: give a number of pixels" + (" or auto" if shape else ""))
    shared = model.card.overlap if overlap is None else overlap
    return least_computed(shape, model.card.chip_size, shared, model.stride)


def least_computed(shape: tuple[int, int], own: int, overlap: int, stride: int | None) -> int:
    """Find the side with which the fewest pixels go through the network; of equal ones the smallest.

    Args:
        shape: (rows, columns) of the scene.
        own: The model's side; never less.
        overlap: Pixels that chips share.
        stride: What sides must be multiples of; None if the network takes no other than its own.
    """
    if stride is None:
        return own
    step = lcm(stride, 8)  # the sides of networks of a stride of 2 need not be odd numbers
    first = -(-own // step) * step
    larger = (
        side
        for side in range(first, _LARGEST_CHIP + 1, step)
        if _chips(shape, side, overlap) >= _FEWEST_CHIPS
    )
    return min((own, *larger), key=lambda side: _chips(shape, side, overlap) * side**2)


def _chips(shape: tuple[int, int], side: int, overlap: int) -> int:
    rows, cols = Grid(shape, side, min(overlap, side // 2)).counts
    return rows * cols


def fit_batch_to_device(model: Model, settings: Settings) -> Settings:
    """Halve the batch until an inference fits into the memory of a GPU.

    The shape of an inference is part of the answer, so it is settled before the first block and never changed
    in a run.

    Args:
        model: The model.
        settings: The resolved settings, which say a GPU.

    Returns:
        The settings with the batch that fits.

    Raises:
        RunError: If a single chip is too much.
    """
    while not _fits_device(model, settings):
        if settings.batch_size == 1:
            raise RunError(
                f"{settings.device} has too little memory for one chip of {settings.chip_size} pixels; "
                "use --precision bf16, another GPU, or --device cpu"
            )
        settings = replace(settings, batch_size=settings.batch_size // 2)
    return settings


def _fits_device(model: Model, settings: Settings) -> bool:
    import torch

    shape = (settings.batch_size, len(settings.bands), settings.chip_size, settings.chip_size)
    try:
        make_backend(model, settings).probabilities(np.zeros(shape, np.float32))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return True
