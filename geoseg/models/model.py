"""A loaded model; its torch network is built when it is first used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from geoseg.errors import ModelError
from geoseg.models.card import ModelCard
from geoseg.models.catalog import ARCHITECTURE_OF, NOT_OPTIONS
from geoseg.models.conversion import ChipShape, ConvertedNetwork, ListedNetwork
from geoseg.models.networks import assemble, check_config_chip_size, config_stride
from geoseg.models.onnx_graph import take_chips
from geoseg.models.sources import CONFIG_FILE, ONNX, ONNX_FILE, WEIGHTS_FILE, Package
from geoseg.models.weights import load_weights


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded model.

    It can be pickled and sent to a machine without the files. The pickle holds the package's content, not the
    torch network that was built from it.

    Attributes:
        card: its card.
        path: where it was loaded from.
        hash: SHA-256, hexadecimal, of all that changes a map: architecture, weights, converted networks of
            the package, bands, transforms, normalisation, classes, chip size, overlap, nodata rule and
            calibration.
        package: its files.
        config: content of `config.json`; None without a torch network.
        weights: content of `model.safetensors`; empty without a torch network.
        listed: the converted networks in the package.
        loaded: the converted networks that were read or made so far, by format, precision and shape.
    """

    card: ModelCard
    path: str
    hash: str
    package: Package = field(repr=False)
    config: Mapping[str, Any] | None = field(repr=False)
    weights: bytes = field(repr=False)
    listed: tuple[ListedNetwork, ...] = ()
    loaded: dict[tuple[str, str, ChipShape], ConvertedNetwork] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle everything but the torch network."""
        return {key: value for key, value in vars(self).items() if key != "network"}

    @cached_property
    def network(self) -> Any:
        """The torch Module in evaluation mode, float32 on the CPU, built on first use.

        It maps normalised (N, bands, rows, columns) to logits (N, classes, rows', columns'); index i of the
        classes is `card.classes[i]`.

        Raises:
            ModelError: if the weights are damaged or do not fit, or there are none.
        """
        if self.config is None:
            raise ModelError(
                f"{self.path} holds no torch network, only a converted one; use --backend openvino or onnx"
            )
        import torch

        with torch.random.fork_rng(devices=[]):  # random weights are drawn; the caller's numbers stay
            network = network_from_config(self.config, self.package.where(CONFIG_FILE))
        load_weights(network, self.weights, self.package.where(WEIGHTS_FILE))
        return network.eval()

    @property
    def stride(self) -> int | None:
        """The number that chip sides should be multiples of, known without torch; None for one fixed size."""
        return None if self.config is None else config_stride(self.config)

    def check_chip_size(self, chip_size: int) -> None:
        """Refuse chips that the network cannot take, without torch.

        Raises:
            ModelError: with the size to use.
        """
        if self.config is not None:
            check_config_chip_size(self.config, chip_size)
            return
        sides = sorted({network.shape.side for network in self.listed})
        if chip_size not in sides:
            raise ModelError(
                f"{self.path} takes chips of {' or '.join(map(str, sides))} pixels, not {chip_size}; "
                "other sizes need the package it was exported from"
            )

    def converted(self, form: str, precision: str, shape: ChipShape) -> ConvertedNetwork | None:
        """Return the converted network for a shape, loaded from the package if needed; None if there is none.

        Args:
            form: "onnx" or "openvino".
            precision: "fp32" or "int8".
            shape: the chips that it takes.

        Raises:
            ModelError: if a file is not the one that the package lists.
        """
        key = (form, precision, shape)
        for network in self.listed:
            if key not in self.loaded and (network.format, network.precision, network.shape) == key:
                found = network.load(self.package)
                if form == ONNX:
                    graph = take_chips(found.graph, self.package.where(ONNX_FILE))
                    found = replace(found, files={ONNX_FILE: graph})
                self.loaded[key] = found
        return self.loaded.get(key)


def model_hash(
    card: ModelCard, config: Mapping[str, Any] | None, weights: bytes, listed: Iterable[ListedNetwork]
) -> str:
    """Hash everything that changes a map; see `Model.hash`.

    Args:
        card: the card.
        config: content of `config.json`; None without a torch network.
        weights: the bytes of `model.safetensors`.
        listed: the converted networks of the package.
    """
    answer = {
        "bands": [
            [band.name, band.mean, band.std, *(step.to_json() for step in band.transforms)]
            for band in card.bands
        ],
        "classes": [[land_class.id, land_class.name, land_class.color] for land_class in card.classes],
        "chip_size": card.chip_size,
        "overlap": card.overlap,
        "invalid_where": card.invalid_where,
        "temperatures": dict(card.temperatures),
    }
    digest = hashlib.sha256()
    for part in (config, answer):
        digest.update(hashlib.sha256(json.dumps(part, sort_keys=True).encode()).digest())
    digest.update(hashlib.sha256(weights).digest())
    for network in listed:
        digest.update(json.dumps(dict(network.hashes), sort_keys=True).encode())
    return digest.hexdigest()


def network_from_config(config: Mapping[str, Any], where: str) -> Any:
    """Build the network that `config.json` describes, with random weights.

    Args:
        config: the parsed file.
        where: the file, as messages name it.

    Raises:
        ModelError: if there is no such network.
    """
    options = {key: value for key, value in config.items() if key not in NOT_OPTIONS}
    try:
        return assemble(
            ARCHITECTURE_OF[config["_model_class"]],
            encoder=config.get("encoder_name"),
            encoder_weights=None,
            bands=config["in_channels"],
            classes=config["classes"],
            **options,
        )
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error
