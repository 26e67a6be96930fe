"""What holds for every test: calls into libraries compute on one thread, in processes that tests start too."""

from __future__ import annotations

import subprocess
import sys

import torch
from threadpoolctl import threadpool_info

COUNT = """
import numpy, torch
from threadpoolctl import threadpool_info
print({torch.get_num_threads()} | {pool["num_threads"] for pool in threadpool_info()})
"""


def test_libraries_compute_on_one_thread():
    assert torch.get_num_threads() == 1
    assert {pool["num_threads"] for pool in threadpool_info()} == {1}


def test_so_they_do_in_processes_that_tests_start():
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{1}"
