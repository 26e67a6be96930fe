"""Devices and precisions found without torch, and the allocator."""

from __future__ import annotations

import subprocess
import sys

import pytest

from geoseg.errors import SettingsError
from geoseg.inference.backends import device
from geoseg.inference.backends.device import has_bf16, resolve_device, resolve_precision
from geoseg.system.memory import keep_memory

CPU_INFO = "processor\t: 0\nmodel name\t: A\nflags\t\t: fpu sse {}\n\nprocessor\t: 1\n"


def test_a_cpu_run_is_resolved_without_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from geoseg.inference.backends.device import resolve_device, resolve_precision\n"
        "print(resolve_device('cpu'), resolve_precision('auto', 'cpu'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if not device._cpu_flags():
        pytest.skip("this system does not say what its processor can")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "cpu"


def test_what_linux_says_is_what_torch_says():
    if not device._cpu_flags():
        pytest.skip("this system does not say what its processor can")
    import torch

    has = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if not has:
        pytest.skip("this torch does not say what the processor can")
    assert has_bf16("cpu") == any(has.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


@pytest.mark.parametrize(
    ("flag", "expected"), [("avx512_bf16", True), ("amx_bf16", True), ("avx512f", False)]
)
def test_bf16_is_read_from_the_flags(tmp_path, monkeypatch, flag, expected):
    (tmp_path / "cpuinfo").write_text(CPU_INFO.format(flag))
    monkeypatch.setattr(device, "_CPU_INFO", tmp_path / "cpuinfo")
    device._cpu_flags.cache_clear()
    try:
        assert has_bf16("cpu") is expected
    finally:
        device._cpu_flags.cache_clear()


def test_int8_is_for_a_cpu():
    assert resolve_precision("int8", "cpu") == "int8"
    with pytest.raises(SettingsError, match="int8 runs on a CPU"):
        resolve_precision("int8", "cuda:0")


def test_auto_without_a_driver_is_the_cpu(monkeypatch):
    monkeypatch.setattr(device, "_may_have_accelerator", lambda: False)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert resolve_device("auto") == "cpu"


@pytest.mark.parametrize(
    ("built", "may_have"),
    [
        ("cuda: Optional[str] = None\nhip: Optional[str] = None\n", False),
        ("cuda = None\r\nhip = None\r\n", False),
        ("cuda: Optional[str] = '13.2'\nhip: Optional[str] = None\n", True),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '7.0'\n", True),
        ("cuda: Optional[str] = None\n", True),
        (None, True),
    ],
)
def test_a_driver_is_of_no_use_to_a_torch_that_was_built_for_cpus(tmp_path, monkeypatch, built, may_have):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise AssertionError('imported')")
    if built is not None:
        (tmp_path / "torch" / "version.py").write_bytes(built.encode())
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(device, "_has_driver", lambda: True)
    assert device._may_have_accelerator() is may_have
    monkeypatch.setattr(device, "_has_driver", lambda: False)
    assert not device._may_have_accelerator()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_freed_memory_is_kept_and_repeats_are_harmless():
    code = """
import ctypes, resource, sys
sys.path.insert(0, ".")
if sys.argv[1] == "keep":
    from geoseg.system.memory import keep_memory
    assert keep_memory() is keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    piece = libc.malloc(48 << 20)
    ctypes.memset(piece, 1, 48 << 20)
    libc.free(piece)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    if not keep_memory():
        pytest.skip("this C library is not glibc")
    faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", code, how], capture_output=True, text=True, check=True
            ).stdout
        )
        for how in ("keep", "as it comes")
    ]
    assert faults[0] < faults[1] / 2, "pages that were freed are handed out again, not mapped afresh"
