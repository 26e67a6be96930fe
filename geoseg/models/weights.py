"""Read and write weights as safetensors: a header of names and shapes, then numbers, without code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geoseg.errors import ModelError

PRECISIONS = ("fp32", "fp16")
# Differences between a file and a network that a message names.
_SHOWN = 2


def dump_weights(network: Any, precision: str = "fp32") -> bytes:
    """Encode the weights of a network as a safetensors file.

    Args:
        network: a torch Module.
        precision: "fp32", or "fp16" for half the size. Vectors (biases, batch statistics) and weights that
            do not fit into fp16 stay fp32: they are small, and variances often exceed fp16's range.

    Raises:
        ModelError: if the precision is unknown or a weight is not finite.
    """
    import torch
    from safetensors.torch import save

    if precision not in PRECISIONS:
        raise ModelError(f'precision "{precision}" is unknown; use {" or ".join(PRECISIONS)}')
    tensors = {}
    for name, value in network.state_dict().items():
        tensor = value.detach().to("cpu", copy=True).contiguous()
        if tensor.is_floating_point():
            tensor = tensor.to(torch.float32)
            half = tensor.to(torch.float16)
            if precision == "fp16" and tensor.ndim > 1 and bool(torch.isfinite(half).all()):
                tensor = half
        tensors[name] = tensor
    _check_finite(tensors, "the network")
    data: bytes = save(tensors, metadata={"format": "pt"})
    return data


def load_weights(network: Any, data: bytes, where: str) -> None:
    """Fill a network with the weights of a safetensors file, as float32.

    Args:
        network: a torch Module of the architecture that the weights were saved from.
        data: the bytes of the file.
        where: the file, as messages name it.

    Raises:
        ModelError: if the file is damaged, or naming the first tensor that does not match.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if data.startswith(b"version https://git-lfs"):
        raise ModelError(
            f"{where} is a Git LFS pointer, not the weights; run `git lfs pull` in its repository"
        )
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelError(f"{where} is damaged or not a safetensors file ({error}); get it again") from error
    fill_network(network, tensors, where, "config.json")


def fill_network(network: Any, tensors: Mapping[str, Any], where: str, what: str) -> None:
    """Fill a network with weights, as float32.

    Args:
        network: a torch Module.
        tensors: name -> tensor.
        where: the file they come from, as messages name it.
        what: what describes the network, as messages name it.

    Raises:
        ModelError: if a weight is not finite, or naming the first tensors that do not match.
    """
    import torch

    _check_finite(tensors, where)
    values = {
        name: tensor.to(torch.float32) if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    try:
        network.load_state_dict(dict(values), strict=True)
    except RuntimeError as error:
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        raise ModelError(f"{where} does not match {what}: {_difference(expected, found)}") from error


def _check_finite(tensors: Mapping[str, Any], where: str) -> None:
    import torch

    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(
                f'{where}: tensor "{name}" holds values that are not finite; train again or get it again'
            )


def _difference(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> str:
    """Name the first differences, and count the others."""
    differences = [
        f'tensor "{name}" has shape {list(found[name])} instead of {list(shape)}'
        if name in found
        else f'tensor "{name}" is missing'
        for name, shape in expected.items()
        if found.get(name) != shape
    ]
    extra = [f'tensor "{name}" is not part of the network' for name in found if name not in expected]
    # Of each sort the first: a tensor by another name is one of both.
    first = [*differences[:_SHOWN], *extra[: max(1, _SHOWN - len(differences))]]
    left = len(differences) + len(extra) - len(first)
    more = f" (and {left} more)" if left else ""
    return f"{', '.join(first) or 'the tensors differ'}{more}"
