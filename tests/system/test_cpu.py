"""How many processors there are to be had: affinity, quotas of control groups, and threads that share a core."""

from __future__ import annotations

import os

import pytest

from geoseg.system import cpu as processors
from geoseg.system.cgroups import cgroup_folders
from geoseg.system.cpu import cores, physical_cores, processor_name, quota


def written(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def quota_of(root, membership, files):
    """The quota where the kernel says that this process is in these groups, with these files."""
    written(root / "proc", {"self/cgroup": membership})
    return quota(root / "proc", written(root / "cgroup", files))


class TestQuota:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("200000 100000", 2),
            ("150000 100000", 2),
            ("50000 100000", 1),
            ("1000 100000", 1),
            ("6400000 100000", 64),
            ("40000 20000", 2),
            ("max 100000", None),
            ("", None),
            ("100000 0", None),
            ("many threads", None),
        ],
    )
    def test_version_two_is_rounded_up_and_at_least_one(self, tmp_path, text, expected):
        assert quota_of(tmp_path, "0::/a\n", {"a/cpu.max": f"{text}\n"}) == expected

    @pytest.mark.parametrize(
        ("allowed", "period", "expected"),
        [("200000", "100000", 2), ("250000", "100000", 3), ("-1", "100000", None), ("1", "100000", 1)],
    )
    def test_version_one(self, tmp_path, allowed, period, expected):
        files = {"cpu/a/cpu.cfs_quota_us": f"{allowed}\n", "cpu/a/cpu.cfs_period_us": f"{period}\n"}
        assert quota_of(tmp_path, "5:cpu,cpuacct:/a\n4:memory:/\n", files) == expected

    def test_half_of_version_one_is_none(self, tmp_path):
        assert quota_of(tmp_path, "5:cpu:/\n", {"cpu/cpu.cfs_quota_us": "200000\n"}) is None

    @pytest.mark.parametrize(("outer", "inner"), [(300000, 800000), (800000, 300000)])
    def test_the_least_on_the_way_up_counts(self, tmp_path, outer, inner):
        files = {
            "cpu.max": "max 100000\n",
            "a/cpu.max": f"{outer} 100000\n",
            "a/b/cpu.max": f"{inner} 100000\n",
            "a/other/cpu.max": "100000 100000\n",
        }
        assert quota_of(tmp_path, "0::/a/b\n", files) == 3

    def test_a_container_finds_its_own_at_the_root_of_what_it_sees(self, tmp_path):
        files = {"cpu.max": "200000 100000\n"}
        assert quota_of(tmp_path, "0::/docker/of/the/host\n", files) == 2
        written(tmp_path, {"cpu.max": "100000 100000\n"})
        assert quota_of(tmp_path, "0::/..\n", files) == 2, "nothing beyond that root"

    def test_groups_of_other_controllers_do_not_count(self, tmp_path):
        files = {"cpu/m/cpu.cfs_quota_us": "100000\n", "cpu/m/cpu.cfs_period_us": "100000\n"}
        assert quota_of(tmp_path, "5:cpuset:/m\n4:memory:/m\n", files) is None

    def test_without_control_groups_there_is_none(self, tmp_path):
        assert quota(tmp_path, tmp_path) is None
        assert list(cgroup_folders("cpu", tmp_path, tmp_path)) == []


class TestCores:
    def test_they_are_no_more_than_the_quota_pays_for(self, monkeypatch):
        monkeypatch.setattr(processors, "_usable", lambda: frozenset(range(64)))
        for allowed, expected in ((2, 2), (100, 64), (None, 64)):
            monkeypatch.setattr(processors, "quota", lambda allowed=allowed: allowed)
            assert cores() == expected

    @pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not bind processes")
    def test_here_they_are_at_most_those_that_this_process_may_run_on(self):
        assert 1 <= cores() <= len(os.sched_getaffinity(0))

    def test_where_processes_are_not_bound_all_count(self, monkeypatch):
        monkeypatch.setattr(processors, "_usable", lambda: None)
        monkeypatch.setattr(processors, "quota", lambda: None)
        monkeypatch.setattr(os, "cpu_count", lambda: 12)
        assert cores() == 12
        monkeypatch.setattr(os, "cpu_count", lambda: None)
        assert cores() == 1


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
    assert processor_name(tmp_path)
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A 7 @ 2 GHz\n\nmodel name\t: B\n")
    assert processor_name(tmp_path) == "A 7 @ 2 GHz"
