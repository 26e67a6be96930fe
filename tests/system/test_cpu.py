"""How many processors there are to be had, and what they are."""

from __future__ import annotations

import os

import pytest

from geoseg.system.cpu import cores, processor_name


class TestCores:
    @pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not bind processes")
    def test_they_are_at_most_those_that_this_process_may_run_on(self):
        assert 1 <= cores() <= len(os.sched_getaffinity(0))

    @pytest.mark.parametrize(("quota", "expected"), [((100_000, 100_000), 1), ((1_000, 100_000), 1)])
    def test_they_are_no_more_than_a_quota_pays_for(self, monkeypatch, quota, expected):
        """``docker --cpus 1`` and less."""
        monkeypatch.setattr("dask.system._try_extract_cgroup_cpu_quota", lambda: quota)
        assert cores() == expected


def test_the_name_of_the_processor(tmp_path):
    path = tmp_path / "cpuinfo"
    assert processor_name(path), "what Python says"
    path.write_text("processor\t: 0\nmodel name\t: A 7 @ 2 GHz\n\nmodel name\t: B\n")
    assert processor_name(path) == "A 7 @ 2 GHz"
