"""Memory that is free under the limits of control groups, and what GDAL may take of it."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import pytest

from geoseg.system import memory
from geoseg.system.memory import (
    bound_gdal_cache,
    default_limit,
    free_memory,
    gdal_cache,
    peak_memory,
    resident_memory,
)


def system(monkeypatch, folder, available, cgroup, files):
    """What is free where the kernel would tell this."""
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=available))
    (folder / "proc" / "self").mkdir(parents=True)
    (folder / "proc" / "self" / "cgroup").write_text(cgroup)
    for name, text in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return free_memory(folder / "proc", folder / "cgroup")


GB = 2**30


def test_without_limits_it_is_what_the_system_has(tmp_path, monkeypatch):
    files = {"a/memory.max": "max\n", "a/memory.current": f"{GB}\n"}
    assert system(monkeypatch, tmp_path, 8 * GB, "0::/a\n", files) == 8 * GB


def test_the_lowest_limit_on_the_way_up_counts_and_cached_files_do_not(tmp_path, monkeypatch):
    files = {
        "a/memory.max": f"{4 * GB}\n",
        "a/memory.current": f"{3 * GB}\n",
        "a/memory.stat": f"anon 5\ninactive_file {2 * GB}\n",
        "a/b/memory.max": f"{64 * GB}\n",
        "a/b/memory.current": "0\n",
    }
    assert system(monkeypatch, tmp_path, 8 * GB, "0::/a/b\n", files) == 3 * GB


def test_a_container_sees_its_own_limit_at_the_root(tmp_path, monkeypatch):
    files = {"memory.max": f"{2 * GB}\n", "memory.current": f"{GB // 2}\n"}
    assert system(monkeypatch, tmp_path, 8 * GB, "0::/somewhere/of/the/host\n", files) == 3 * GB // 2


def test_version_one(tmp_path, monkeypatch):
    files = {
        "memory/a/memory.limit_in_bytes": f"{5 * GB}\n",
        "memory/a/memory.usage_in_bytes": f"{4 * GB}\n",
        "memory/a/memory.stat": f"total_inactive_file {GB}\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": f"{7 * GB}\n",
    }
    assert system(monkeypatch, tmp_path, 8 * GB, "5:cpu,cpuacct:/a\n4:memory:/a\n0::/\n", files) == 2 * GB


def test_over_the_limit_nothing_is_free(tmp_path, monkeypatch):
    files = {"a/memory.max": f"{GB}\n", "a/memory.current": f"{2 * GB}\n"}
    assert system(monkeypatch, tmp_path, 8 * GB, "0::/a\n", files) == 0


def test_this_machine_says_something_and_half_of_it_is_the_default():
    free = free_memory()
    assert free > 0
    assert 0.3 * free < default_limit() < 0.7 * free + 1


def test_the_peak_is_what_was_resident_at_most():
    block = np.ones(10_000_000)
    held = resident_memory()
    assert held >= block.nbytes
    del block
    assert peak_memory() >= 0.99 * held  # the kernel's counters lag a little


def test_the_peak_where_the_kernel_keeps_no_account(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "PROC", tmp_path)
    assert 10**7 < peak_memory() < 10**12


@pytest.mark.parametrize(
    ("text", "bytes_"), [("256", 256 * 2**20), ("64MB", 64 * 2**20), ("300000000", 300_000_000)]
)
def test_the_cache_of_gdal_is_what_gdal_takes_it_for(monkeypatch, text, bytes_):
    monkeypatch.setenv("GDAL_CACHEMAX", text)
    assert gdal_cache() == bytes_


def test_the_cache_shrinks_with_the_limit_and_never_grows(monkeypatch):
    for limit, cache in (("1GB", 95), ("100MB", 32), ("64GB", 256)):
        monkeypatch.setenv("GDAL_CACHEMAX", "256")
        bound_gdal_cache(limit)
        assert int(os.environ["GDAL_CACHEMAX"]) == cache
