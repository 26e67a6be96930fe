"""How many processors there are to be had, what they are, and work in a thread."""

from __future__ import annotations

import os
import threading

import pytest

from geoseg.system.cpu import BackgroundThread, cores, processor_name


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


class TestBackgroundThread:
    def test_it_works_in_order_and_all_is_done_when_its_context_ends(self):
        done = []
        with BackgroundThread("test", 3) as thread:
            for number in range(10):
                thread.submit(done.append, number)
        assert done == list(range(10))

    def test_what_goes_wrong_is_raised_by_the_next_call(self):
        def fail():
            raise OSError("the disk is full")

        thread = BackgroundThread("test", 3)
        thread.submit(fail)
        with pytest.raises(OSError, match="full"):
            thread.flush()
        thread.close()

    def test_submitting_waits_while_as_much_as_may_wait_is_waiting(self):
        going, begun = threading.Event(), []

        def submit_all(thread):
            for number in range(3):
                begun.append(number)
                thread.submit(going.wait, 10)

        with BackgroundThread("test", 2) as thread:
            other = threading.Thread(target=submit_all, args=(thread,))
            other.start()
            other.join(0.2)
            assert begun == [0, 1, 2], "the third is submitted"
            assert other.is_alive(), "and waits for the first"
            going.set()
            other.join()
