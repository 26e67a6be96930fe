"""What a run is expected to take, said before it starts."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

from geoseg.run.prepare import Job

_TORCH_BYTES = 930_000_000
"""Resident memory with torch (the CUDA build), GDAL and a small network loaded, measured on Linux."""
_BASE_BYTES = 300_000_000
"""The same with OpenVINO or ONNX Runtime instead of torch."""
_GDAL_BYTES = 256_000_000
"""GDAL's block cache, as the command line sets it."""
_CHIP_PLANES = {
    "torch": 190,
    "onnx": 197,
    "openvino fp32": 135,
    "openvino bf16": 88,
    "openvino int8": 62,
}
"""float32 planes of a chip that one forward holds: measured for a U-Net resnet18, torch in bf16."""


@dataclass(frozen=True)
class Plan:
    """The size of a run.

    Attributes:
        scene: The scene's name.
        shape: (rows, columns) to be mapped.
        chips: Chips that cover them; those without a valid pixel will be skipped.
        blocks: Blocks they are stitched in.
        computed_per_pixel: Pixels that go through the network for each pixel of the map.
        memory_bytes: Estimated peak of resident memory.
        disk_bytes: Scratch space beside the class map while the run lasts.
        model: The model's name.
        chip_size: Side of a chip.
        overlap: Pixels that neighbouring chips share.
        backend: What runs the network.
        device: Where it runs.
        precision: What it computes in.
    """

    scene: str
    shape: tuple[int, int]
    chips: int
    blocks: int
    computed_per_pixel: float
    memory_bytes: int
    disk_bytes: int
    model: str
    chip_size: int
    overlap: int
    backend: str
    device: str
    precision: str

    def summary(self) -> str:
        """The plan in one line."""
        rows, cols = self.shape
        return (
            f"{self.scene}: {rows} x {cols} pixels, {self.chips} chips of {self.chip_size} with "
            f"{self.overlap} overlap in {self.blocks} blocks, model {self.model}, {self.backend} "
            f"{self.device} {self.precision}, about {self.memory_bytes / 1e9:.1f} GB memory, "
            f"{self.disk_bytes / 1e9:.2f} GB scratch"
        )

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return asdict(self) | {"shape": list(self.shape)}


def make_plan(job: Job) -> Plan:
    """Work out the size of a run from its settings alone."""
    settings = job.settings
    blocks = job.grid.blocks(settings.block_size, job.window)
    chips = sum((b.chips[2] - b.chips[0]) * (b.chips[3] - b.chips[1]) for b in blocks)
    return Plan(
        scene=job.scene.name,
        shape=job.window.shape,
        chips=chips,
        blocks=len(blocks),
        computed_per_pixel=chips * settings.chip_size**2 / job.window.pixels,
        memory_bytes=_memory(job, max(b.reach.pixels for b in blocks)),
        disk_bytes=_scratch_bands(job) * job.window.pixels,
        model=job.model.card.name,
        chip_size=settings.chip_size,
        overlap=settings.overlap,
        backend=settings.backend,
        device=settings.device,
        precision=settings.precision,
    )


def _memory(job: Job, block_pixels: int) -> int:
    """Three blocks of input, two of results in steps, one of sums, a row of margins, and the forwards.

    Within 11 % of the measured peak on a 57-megapixel scene at blocks of 600, 1000 and 2048 pixels.
    """
    bands, classes, settings = len(job.settings.bands), len(job.model.classes), job.settings
    margins = job.window.width * settings.overlap * classes * 4
    blocks = block_pixels * (3 * 4 * bands + 2 * 2 * classes + 3 * 4 * classes)
    planes = _CHIP_PLANES.get(settings.backend) or _CHIP_PLANES[f"openvino {settings.precision}"]
    chips = planes * 4 * settings.chip_size**2 * settings.forwards * settings.batch_size
    has_torch = settings.backend == "torch" or "torch" in sys.modules  # to convert the network, for one
    base = _TORCH_BYTES if has_torch else _BASE_BYTES
    return base + _GDAL_BYTES + blocks + margins + chips


def _scratch_bands(job: Job) -> int:
    refining = 2 if job.settings.refine is not None else 0  # the map before and after a step
    if job.outputs.polygons is not None or refining:
        return 2 + len(job.model.classes) + refining
    counts = {"classes": 1, "confidence": 1, "probabilities": len(job.model.classes)}
    return sum(counts[name] for name in job.outputs.rasters)
