"""How many processors there are to be had, and which of them share a core."""

from __future__ import annotations

import os

import pytest

from geoseg.system.cpu import cores, physical_cores, processor_name


def written(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


class TestCores:
    @pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not bind processes")
    def test_they_are_at_most_those_that_this_process_may_run_on(self):
        assert 1 <= cores() <= len(os.sched_getaffinity(0))

    @pytest.mark.parametrize(("quota", "expected"), [((100_000, 100_000), 1), ((1_000, 100_000), 1)])
    def test_they_are_no_more_than_a_quota_pays_for(self, monkeypatch, quota, expected):
        """``docker --cpus 1`` and less."""
        monkeypatch.setattr("dask.system._try_extract_cgroup_cpu_quota", lambda: quota)
        assert cores() == expected


def topology(root, siblings, name="thread_siblings_list"):
    return written(root, {f"cpu{number}/topology/{name}": f"{text}\n" for number, text in siblings.items()})


FOUR_BY_TWO = {number: f"{number % 4},{number % 4 + 4}" for number in range(8)}


class TestPhysicalCores:
    def test_two_threads_a_core(self, tmp_path):
        root = topology(tmp_path, FOUR_BY_TWO)
        assert physical_cores(range(8), root) == 4
        assert physical_cores({0, 1, 4}, root) == 2
        assert physical_cores({0, 1, 2, 3}, root) == 4
        assert physical_cores({4, 5}, root) == 2, "the first of a core need not be usable"

    def test_neighbours_share_a_core_on_some(self, tmp_path):
        root = topology(tmp_path, {n: f"{n // 2 * 2}-{n // 2 * 2 + 1}" for n in range(6)})
        assert physical_cores(range(6), root) == 3

    def test_fast_cores_with_two_threads_beside_slow_ones_with_one(self, tmp_path):
        root = topology(tmp_path, {0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3", 4: "4", 5: "5", 6: "6"})
        assert physical_cores(range(7), root) == 5

    def test_eight_threads_a_core_and_the_newer_name(self, tmp_path):
        root = topology(tmp_path, dict.fromkeys(range(8), "0-3,4,5-7"), "core_cpus_list")
        assert physical_cores(range(8), root) == 1

    def test_a_machine_without_such_threads(self, tmp_path):
        assert physical_cores(range(3), topology(tmp_path, {n: str(n) for n in range(3)})) == 3

    @pytest.mark.parametrize("damage", ["", "no numbers", "0-", "9", "7"])
    def test_where_the_system_does_not_say_it_is_not_known(self, tmp_path, damage):
        root = topology(tmp_path, FOUR_BY_TWO)
        (root / "cpu3" / "topology" / "thread_siblings_list").write_text(damage)
        assert physical_cores(range(8), root) is None
        assert physical_cores({0, 4}, root) == 1
        assert physical_cores({0, 20}, root) is None
        assert physical_cores((), root) is None

    def test_here_there_are_no_more_than_logical_ones(self):
        found = physical_cores()
        assert found is None or 1 <= found <= os.cpu_count()


def test_the_name_of_the_processor(tmp_path):
    path = tmp_path / "cpuinfo"
    assert processor_name(path), "what Python says"
    path.write_text("processor\t: 0\nmodel name\t: A 7 @ 2 GHz\n\nmodel name\t: B\n")
    assert processor_name(path) == "A 7 @ 2 GHz"
