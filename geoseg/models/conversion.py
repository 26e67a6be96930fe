"""A network as one ONNX graph: all that lies between a normalised chip and its probabilities, at one shape.

ONNX is the only format that torch networks are turned into. ONNX Runtime runs it, OpenVINO reads it as it is
(and makes its own format, IR, of it where a package shall hold that), so there is one conversion to test.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from geoseg.errors import ModelError
from geoseg.models.networks import size_divisor

INPUTS = ("chips", "temperature")
OUTPUT = "probabilities"
OPSET = 20
"""Has antialiased Resize (18) and GELU (20), which encoders use; known since ONNX 1.15."""

PACKAGES = ("onnx", "onnxscript")
# Bytes of a constant that may be worked out while converting: position encodings resized to the chip, say.
_FOLD_BYTES = 2**26


@dataclass(frozen=True, slots=True)
class ChipShape:
    """The one shape that a converted network takes.

    Attributes:
        batch: chips a forward.
        bands: input bands.
        side: rows and columns of a chip.
    """

    batch: int
    bands: int
    side: int

    @property
    def dimensions(self) -> tuple[int, int, int, int]:
        """(batch, bands, rows, columns)."""
        return (self.batch, self.bands, self.side, self.side)


def can_convert() -> bool:
    """Whether what converting needs is installed."""
    return all(find_spec(package) is not None for package in PACKAGES)


def to_onnx(network: Any, shape: ChipShape) -> bytes:
    """Convert a network.

    Args:
        network: torch Module in evaluation mode, from `build_network` or `load_model`.
        shape: what it shall take.

    Returns:
        An ONNX model with the inputs `chips` (float32, `shape.dimensions`, normalised) and `temperature`
        (float32, a scalar that divides the logits) and the output `probabilities` (float32, (batch, classes,
        side, side), summing to 1 over the classes). Sides the network cannot take are padded with zeros,
        small logits upsampled bilinearly, as the torch backend does it.

    Raises:
        ModelError: if torch cannot export this network, with its reason.
    """
    import torch

    whole = _whole_forward(network, size_divisor(network))
    example = (torch.zeros(shape.dimensions), torch.ones(()))
    try:
        with _quiet(), torch.no_grad():
            exported = torch.export.export(whole, example)
            program = torch.onnx.export(
                exported,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=list(INPUTS),
                output_names=[OUTPUT],
                external_data=False,
            )
            return _bytes_of(program)
    except Exception as error:  # torch.export raises a dozen kinds of its own
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"torch cannot convert this network ({lines[0][:200].rstrip('. ')}); use --backend torch"
        ) from error


def _whole_forward(network: Any, divisor: int) -> Any:
    import torch
    from torch import nn

    class WholeForward(nn.Module):  # type: ignore[misc]
        """Pads, runs the network, upsamples, cuts, and turns logits into probabilities."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, chips: Any, temperature: Any) -> Any:
            rows, cols = chips.shape[-2:]
            padding = (0, -cols % divisor, 0, -rows % divisor)
            padded = nn.functional.pad(chips, padding) if any(padding) else chips
            logits = self.network(padded)
            if logits.shape[-2:] != padded.shape[-2:]:
                logits = nn.functional.interpolate(
                    logits, size=padded.shape[-2:], mode="bilinear", align_corners=False
                )
            return torch.softmax(logits[..., :rows, :cols] / temperature, dim=1)

    return WholeForward().eval()


def _bytes_of(program: Any) -> bytes:
    from onnxscript import optimizer

    # What depends on weights alone is worked out now: runtimes differ in how they resize antialiased.
    optimizer.optimize(program.model, input_size_limit=_FOLD_BYTES, output_size_limit=_FOLD_BYTES)
    _forget_sources(program.model)
    buffer = io.BytesIO()
    program.save(buffer)
    return buffer.getvalue()


def _forget_sources(model: Any) -> None:
    """Remove the exporter's notes: they name files and lines of the machine that converted."""
    model.metadata_props.clear()
    for graph in (model.graph, *model.graph.subgraphs()):
        graph.metadata_props.clear()
        for value in (*graph.inputs, *graph.outputs, *graph.initializers.values()):
            value.metadata_props.clear()
        for node in graph:
            node.metadata_props.clear()
            for value in node.outputs:
                value.metadata_props.clear()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's exporter from talking about its own deprecations."""
    import logging

    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
