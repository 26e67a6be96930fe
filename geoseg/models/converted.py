"""Networks in other formats than torch's: what files they are, and how a package holds them.

A package may hold a network as ONNX and as OpenVINO IR, and one that was quantized to int8. `mlm.json` says
of each which chips it takes and the SHA-256 of its files, in `geoseg:converted`; a file that differs is
refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from geoseg.errors import ModelError
from geoseg.models.conversion import ChipShape
from geoseg.models.layout import CONVERTED_FILES, ONNX, OPENVINO
from geoseg.models.mlm import MLM_FILE
from geoseg.models.sources import Package

CONVERTED_KEY = "geoseg:converted"
_TITLES = {ONNX: "Network for ONNX Runtime and OpenVINO", OPENVINO: "Network for OpenVINO"}


@dataclass(frozen=True, slots=True)
class Converted:
    """A converted network: inputs and output as `convert.to_onnx` says.

    Attributes:
        format: "onnx" or "openvino".
        precision: "fp32" or "int8".
        shape: the one shape it takes.
        files: file name -> content; one ONNX file, or IR's graph (.xml) and weights (.bin).
    """

    format: str
    precision: str
    shape: ChipShape
    files: Mapping[str, bytes] = field(repr=False)

    @property
    def hashes(self) -> dict[str, str]:
        """File name -> SHA-256, hexadecimal."""
        return {name: hashlib.sha256(data).hexdigest() for name, data in self.files.items()}

    @property
    def graph(self) -> bytes:
        """The ONNX file, or IR's .xml."""
        return self.files[CONVERTED_FILES[self.format, self.precision][0]]

    @property
    def weights(self) -> bytes | None:
        """IR's .bin; None for ONNX, which holds its weights."""
        names = CONVERTED_FILES[self.format, self.precision]
        return self.files[names[1]] if len(names) > 1 else None


@dataclass(frozen=True, slots=True)
class Promised:
    """What a package says of a converted network in it; see `Converted`.

    Attributes:
        format: "onnx" or "openvino".
        precision: "fp32" or "int8".
        shape: the one shape it takes.
        hashes: file name -> SHA-256, hexadecimal.
    """

    format: str
    precision: str
    shape: ChipShape
    hashes: Mapping[str, str]

    def load(self, package: Package) -> Converted:
        """Read the files.

        Raises:
            ModelError: if one is missing or is not the one that the package was made with.
        """
        files = {}
        for name, promised in self.hashes.items():
            data = package.read(name)
            if hashlib.sha256(data).hexdigest() != promised:
                raise ModelError(
                    f"{package.where(name)} is not the file that {MLM_FILE} describes (another SHA-256); "
                    "export or quantize the model again"
                )
            files[name] = data
        return Converted(self.format, self.precision, self.shape, files)


def promised_in(item: Mapping[str, Any], where: str) -> tuple[Promised, ...]:
    """The converted networks that `mlm.json` describes.

    Args:
        item: parsed `mlm.json`.
        where: the file, as messages name it.

    Raises:
        ModelError: if the description cannot be right.
    """
    properties = item.get("properties")
    entries = properties.get(CONVERTED_KEY, []) if isinstance(properties, Mapping) else []
    try:
        return tuple(_promised(entry) for entry in entries)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{where}: `{CONVERTED_KEY}` is no list of converted networks ({type(error).__name__}: {error}); "
            "export or quantize the model again"
        ) from error


def promise(item: dict[str, Any], networks: tuple[Promised, ...]) -> dict[str, Any]:
    """`mlm.json` with these converted networks, and no others, described and listed as assets."""
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


def _promised(entry: Mapping[str, Any]) -> Promised:
    names = CONVERTED_FILES[entry["format"], entry["precision"]]
    batch, bands, rows, cols = (int(size) for size in entry["shape"])
    if rows != cols or min(batch, bands, rows) < 1:
        raise ValueError(f"a shape of {entry['shape']}")
    hashes = {name: str(entry["sha256"][name]) for name in names}
    return Promised(entry["format"], entry["precision"], ChipShape(batch, bands, rows), hashes)


def _asset(network: Promised, name: str) -> dict[str, Any]:
    return {
        "href": name,
        "title": f"{_TITLES[network.format]}, {network.precision}",
        "type": f"application/octet-stream; framework={network.format}",
        "roles": ["data"],
    }
