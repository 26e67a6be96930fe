"""Read files of `torch.save` without running code in them: tensors, numbers, texts and their containers."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.errors import ModelError

_SAVE = "torch.save(network.state_dict(), 'weights.pth')"
_WAY_OUT = (
    "which geoseg does not run; if you trust it, open it where it was made, save its weights alone, "
    f"{_SAVE}, and import these with --architecture and --encoder"
)
_PICKLE = b"\x80"
# Of torch's messages about what it refuses.
_GLOBAL = re.compile(r"(?:GLOBAL|function|class) `?([\w.]+\.\w+)")
_NAMED = ("state_dict", "model_state_dict", "model", "network", "net", "weights")


def is_torch_file(path: Path) -> bool:
    """Tell whether a file is one of `torch.save`, or a plain pickle, by its content."""
    try:
        with path.open("rb") as file:
            head = file.read(2)
        if head != b"PK":
            return head[:1] == _PICKLE
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def read_torch_file(path: Path, shown: str) -> Any:
    """Read a file of `torch.save` by `torch.load(weights_only=True)`.

    Args:
        path: the file.
        shown: what messages call it.

    Raises:
        ModelError: if it holds objects that need code, or is damaged.
    """
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TorchScript, which is refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile pickle raises anything
        text = str(error)
        if "TorchScript" in text:
            raise ModelError(f"{shown} holds a program (TorchScript), {_WAY_OUT}") from error
        named = _GLOBAL.search(text)
        if isinstance(error, pickle.UnpicklingError) and named is not None:
            raise ModelError(f"{shown} holds an object of {named[1]}, that is code, {_WAY_OUT}") from error
        reason = (text.strip().splitlines() or [type(error).__name__])[0][:200].rstrip(". ")
        raise ModelError(f"{shown} is damaged or no file of torch.save ({reason}); get it again") from error


def weights_in(content: Any, shown: str) -> dict[str, Any]:
    """Find the weights in what a file holds: a state dict, or the one in a dictionary of other things.

    Raises:
        ModelError: if there are none, or several.
    """
    if _is_state_dict(content):
        return dict(content)
    found = {}
    if isinstance(content, Mapping):
        found = {key: value for key, value in content.items() if _is_state_dict(value)}
        for name in _NAMED:
            if name in found:
                return dict(found[name])
    if len(found) != 1:
        what = f"several networks ({', '.join(map(str, found))})" if found else "no weights of a network"
        raise ModelError(f"{shown} holds {what}; save those of one: {_SAVE}")
    return dict(next(iter(found.values())))


def _is_state_dict(value: Any) -> bool:
    import torch

    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) for name in value)
        and all(isinstance(each, torch.Tensor) and not each.is_quantized for each in value.values())
        and all(each.layout == torch.strided and not each.is_meta for each in value.values())
    )
