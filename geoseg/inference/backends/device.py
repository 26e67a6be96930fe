"""Resolve the device and the precision of this machine, without importing torch if possible.

Importing torch takes a second or more, and a run with a converted network on a CPU does not need it. So check
the system first: without the driver of an accelerator, or with a torch built for CPUs, there is none to use.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from geoseg.errors import SettingsError

PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")
_CPU_INFO = Path("/proc/cpuinfo")
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
_DEVICE_FILES = ("/dev/kfd", "/dev/dxg", "/dev/nvhost-gpu")


def resolve_device(device: str) -> str:
    """Choose a device.

    Args:
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.

    Returns:
        The device by its full name; ``"auto"`` prefers CUDA, then MPS, then the CPU.

    Raises:
        SettingsError: If this machine has no such device.
    """
    if device == "cpu" or (device == "auto" and not _may_have_accelerator()):
        return "cpu"
    import torch

    cuda, mps = torch.cuda.device_count(), torch.backends.mps.is_available()
    if device == "auto":
        return "cuda:0" if cuda else "mps" if mps else "cpu"
    if device == "mps" and mps:
        return device
    index = {"cuda": "0"}.get(device, device.removeprefix("cuda:"))
    if device.startswith("cuda") and index.isdecimal() and int(index) < cuda:
        return f"cuda:{index}"
    have = ["auto", "cpu", *(f"cuda:{i}" for i in range(cuda)), *(["mps"] if mps else [])]
    raise SettingsError(f"--device {device}: this machine has no such device; use {' or '.join(have)}")


def resolve_precision(precision: str, device: str) -> str:
    """Choose a precision: ``"auto"`` is bf16 if the device computes in it natively, else fp32.

    Raises:
        SettingsError: If the precision is unknown, or the device cannot run it.
    """
    if precision not in PRECISIONS:
        raise SettingsError(f"--precision {precision}: use one of {', '.join(PRECISIONS)}")
    if precision == "auto":
        return "bf16" if has_bf16(device) else "fp32"
    if precision == "fp16" and device == "cpu":
        raise SettingsError("--precision fp16 needs a GPU; on a CPU use bf16 or fp32")
    if precision == "int8" and device != "cpu":
        raise SettingsError(f"--precision int8 runs on a CPU, not on {device}; use bf16 or fp16 there")
    return precision


def has_bf16(device: str) -> bool:
    """Tell whether a device computes in bf16 natively."""
    if device == "cpu" and (flags := _cpu_flags()):
        return bool(flags & _BF16_FLAGS)
    import torch

    if device.startswith("cuda"):
        ampere = 8
        return int(torch.cuda.get_device_capability(device)[0]) >= ampere
    if device != "cpu":
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        has = torch.cpu.get_capabilities()
        return any(has.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return any(
        getattr(torch.cpu, probe, bool)() for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )


def _may_have_accelerator() -> bool:
    """Tell whether torch may find an accelerator; False only if it certainly cannot."""
    return sys.platform == "darwin" or (_has_driver() and not _torch_is_for_cpus())


def _has_driver() -> bool:
    if any(os.path.exists(path) for path in _DEVICE_FILES):
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _torch_is_for_cpus() -> bool:
    """Tell whether the installed torch was built without accelerators, as is usual on Windows."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        return False
    try:
        built = Path(found.origin).with_name("version.py").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return all(re.search(rf"^{kind}\b[^=\n]*= *None$", built, re.MULTILINE) for kind in ("cuda", "hip"))


@cache
def _cpu_flags() -> frozenset[str]:
    """Return the processor's feature flags as Linux names them; empty if unknown."""
    try:
        lines = _CPU_INFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        name, _, values = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(values.split())
    return frozenset()
