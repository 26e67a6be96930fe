"""Convert torch networks to ONNX, and list the converted networks of a package.

Torch networks are converted to ONNX only: one graph from a normalised chip to its probabilities, at one
shape. ONNX Runtime runs it; OpenVINO reads it too, and `openvino_ir` converts it to OpenVINO's own format,
IR, for packages that hold that. So there is one conversion to test.

A package may hold a network as ONNX, as IR, and as IR quantized to int8. `mlm.json` lists them in
`geoseg:converted`, each with the chips it takes and the SHA-256 of its files; a file that differs is refused.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ModelError
from geoseg.models.networks import size_divisor
from geoseg.models.sources import CONVERTED_FILES, MLM_FILE, ONNX, OPENVINO, Package

CHIPS, TEMPERATURE = INPUTS = ("chips", "temperature")
OUTPUT = "probabilities"
OPSET = 20
"""The first with antialiased Resize (18) and GELU (20), which encoders use; part of ONNX 1.15."""

CONVERTED_KEY = "geoseg:converted"
PACKAGES = ("onnx", "onnxscript")
_TITLES = {ONNX: "Network for ONNX Runtime and OpenVINO", OPENVINO: "Network for OpenVINO"}
# Largest constant in bytes that is computed while converting, such as position encodings resized to the chip.
_FOLD_BYTES = 2**26


@dataclass(frozen=True, slots=True)
class ChipShape:
    """The only shape that a converted network takes.

    Attributes:
        batch: chips an inference.
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


@dataclass(frozen=True, slots=True)
class ListedNetwork:
    """A converted network as `mlm.json` lists it.

    Attributes:
        format: "onnx" or "openvino".
        precision: "fp32" or "int8".
        shape: the only shape it takes.
        hashes: file name -> SHA-256, hexadecimal.
    """

    format: str
    precision: str
    shape: ChipShape
    hashes: Mapping[str, str]

    def load(self, package: Package) -> ConvertedNetwork:
        """Read the files of the network.

        Raises:
            ModelError: if one is missing, or differs from the one that the package was made with.
        """
        files = {}
        for name, listed in self.hashes.items():
            data = package.read(name)
            if hashlib.sha256(data).hexdigest() != listed:
                raise ModelError(
                    f"{package.where(name)} is not the file that {MLM_FILE} lists (its SHA-256 differs); "
                    "export or quantize the model again"
                )
            files[name] = data
        return ConvertedNetwork(self.format, self.precision, self.shape, files)


@dataclass(frozen=True, slots=True)
class ConvertedNetwork:
    """A converted network in memory; `to_onnx` says what its inputs and output are.

    Attributes:
        format: "onnx" or "openvino".
        precision: "fp32" or "int8".
        shape: the only shape it takes.
        files: file name -> content; one ONNX file, or IR's graph (.xml) and weights (.bin).
    """

    format: str
    precision: str
    shape: ChipShape
    files: Mapping[str, bytes] = field(repr=False)

    @property
    def listing(self) -> ListedNetwork:
        """Its entry for `mlm.json`."""
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in self.files.items()}
        return ListedNetwork(self.format, self.precision, self.shape, hashes)

    @property
    def graph(self) -> bytes:
        """The ONNX file, or IR's .xml."""
        return self.files[CONVERTED_FILES[self.format, self.precision][0]]

    @property
    def weights(self) -> bytes | None:
        """IR's .bin; None for ONNX, which holds its weights."""
        names = CONVERTED_FILES[self.format, self.precision]
        return self.files[names[1]] if len(names) > 1 else None


def further_inputs(takes: Collection[str], temperature: float) -> dict[str, NDArray[np.float32]]:
    """Make the inputs of a converted network beside its chips.

    Args:
        takes: names of its inputs. Networks of other tools take no temperature.
        temperature: what its logits are divided by.

    Raises:
        ModelError: if the network cannot be calibrated, and the temperature is not 1.
    """
    if TEMPERATURE in takes:
        return {TEMPERATURE: np.array(temperature, np.float32)}
    if temperature != 1:
        raise ModelError(f"this network takes no temperature; remove {temperature:g} from its {MLM_FILE}")
    return {}


def can_convert() -> bool:
    """Tell whether the packages that conversion needs are installed."""
    return all(find_spec(package) is not None for package in PACKAGES)


def to_onnx(network: Any, shape: ChipShape) -> bytes:
    """Convert a torch network to ONNX.

    Args:
        network: torch Module in evaluation mode, from `build_network` or `load_model`.
        shape: the chips that the ONNX network takes.

    Returns:
        An ONNX model with the inputs `chips` (float32, `shape.dimensions`, normalised) and `temperature`
        (float32, a scalar that divides the logits) and the output `probabilities` (float32, (batch, classes,
        side, side), summing to 1 over the classes). Sides that the network cannot take are padded with
        zeros, small logits are upsampled bilinearly, as the torch backend does it.

    Raises:
        ModelError: if torch cannot export this network, with its reason.
    """
    import torch

    whole = _chips_to_probabilities(network, size_divisor(network))
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


def _chips_to_probabilities(network: Any, divisor: int) -> Any:
    import torch
    from torch import nn

    class ChipsToProbabilities(nn.Module):  # type: ignore[misc]
        """Pads chips, runs the network, upsamples and crops its logits, and applies softmax."""

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

    return ChipsToProbabilities().eval()


def _bytes_of(program: Any) -> bytes:
    from onnxscript import optimizer

    # Values that depend on weights alone are computed now, because runtimes differ in antialiased resizing.
    optimizer.optimize(program.model, input_size_limit=_FOLD_BYTES, output_size_limit=_FOLD_BYTES)
    _forget_sources(program.model)
    buffer = io.BytesIO()
    program.save(buffer)
    return buffer.getvalue()


def _forget_sources(model: Any) -> None:
    """Remove the exporter's metadata, which names files and lines of the machine that converted."""
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
    """Silence the exporter's warnings about its own deprecations."""
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


def listed_networks(item: Mapping[str, Any], where: str) -> tuple[ListedNetwork, ...]:
    """Read the converted networks that `mlm.json` lists.

    Args:
        item: parsed `mlm.json`.
        where: the file, as messages name it.

    Raises:
        ModelError: if the list is wrong.
    """
    properties = item.get("properties")
    entries = properties.get(CONVERTED_KEY, []) if isinstance(properties, Mapping) else []
    try:
        return tuple(_listed(entry) for entry in entries)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{where}: `{CONVERTED_KEY}` is no list of converted networks ({type(error).__name__}: {error}); "
            "export or quantize the model again"
        ) from error


def with_listed(item: dict[str, Any], networks: tuple[ListedNetwork, ...]) -> dict[str, Any]:
    """Return `mlm.json` with these converted networks, and no others, listed and among its assets."""
    properties, assets = dict(item["properties"]), dict(item["assets"])
    for names in CONVERTED_FILES.values():
        for name in names:
            assets.pop(name, None)
    properties.pop(CONVERTED_KEY, None)
    if networks:
        properties[CONVERTED_KEY] = [
            {
                "format": network.format,
                "precision": network.precision,
                "shape": list(network.shape.dimensions),
                "sha256": dict(network.hashes),
            }
            for network in networks
        ]
    for network in networks:
        for name in network.hashes:
            assets[name] = _asset(network, name)
    return item | {"properties": properties, "assets": assets}


def _listed(entry: Mapping[str, Any]) -> ListedNetwork:
    names = CONVERTED_FILES[entry["format"], entry["precision"]]
    batch, bands, rows, cols = (int(size) for size in entry["shape"])
    if rows != cols or min(batch, bands, rows) < 1:
        raise ValueError(f"a shape of {entry['shape']}")
    hashes = {name: str(entry["sha256"][name]) for name in names}
    return ListedNetwork(entry["format"], entry["precision"], ChipShape(batch, bands, rows), hashes)


def _asset(network: ListedNetwork, name: str) -> dict[str, Any]:
    return {
        "href": name,
        "title": f"{_TITLES[network.format]}, {network.precision}",
        "type": f"application/octet-stream; framework={network.format}",
        "roles": ["data"],
    }
