"""Read and write weights as safetensors: a header of names and shapes, then numbers, without code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geoseg.errors import ModelError

PRECISIONS = ("fp32", "fp16")


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
    import torch
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
        raise ModelError(f"{where} does not match config.json: {_difference(expected, found)}") from error


def _check_finite(tensors: Mapping[str, Any], where: str) -> None:
    import torch

    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(
                f'{where}: tensor "{name}" holds values that are not finite; train again or get it again'
            )


def _difference(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> str:
    """Name the first difference, and count the others."""
    differences = [
        f'tensor "{name}" has shape {list(found[name])} instead of {list(shape)}'
        if name in found
        else f'tensor "{name}" is missing'
        for name, shape in expected.items()
        if found.get(name) != shape
    ]
    differences += [f'tensor "{name}" is not part of the network' for name in found if name not in expected]
    more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
    return f"{differences[0] if differences else 'the tensors differ'}{more}"
