"""Sums of a block on the host: inferences in several threads add to the same pixels, and nothing is lost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
import torch

from geoseg.errors import RunError
from geoseg.grid import Grid
from geoseg.inference.device_sum import DeviceSums
from geoseg.inference.sums import SUM_ONE, HostSums
from tests.inference.test_stitching import FakeBackend, identity

CLASSES = 2


class Meeting(np.ndarray):
    """Sums that are read, and written only once another thread has read them too, or does not come."""

    readers: threading.Barrier

    def __iadd__(self, other):
        result = np.asarray(self) + other
        with suppress(threading.BrokenBarrierError):
            self.readers.wait(1.0)
        self[...] = result
        return self


def test_what_two_threads_add_to_the_same_pixels_is_all_there(monkeypatch):
    monkeypatch.setattr(Meeting, "readers", threading.Barrier(2), raising=False)
    grid = Grid((16, 28), 16, 4)
    (block,) = grid.blocks(28)
    chips = list(grid.chips(block))
    assert len(chips) == 2
    total = HostSums(FakeBackend(identity), grid, block, CLASSES)
    total.sums = total.sums.view(Meeting)
    with ThreadPoolExecutor(2) as threads:
        answers = [np.full((1, CLASSES, 16, 16), 0.25, np.float32) for _ in chips]
        list(threads.map(lambda chip, answer: total.stitch([chip], answer), chips, answers))
    assert np.unique(np.asarray(total.sums)).tolist() == [round(0.25 * 65535) * (SUM_ONE // 65535)]


@pytest.mark.parametrize("where", ["host", "device"])
def test_nan_is_no_class(where):
    grid = Grid((16, 40), 16, 4)
    block = grid.blocks(16)[1]
    (chip,) = grid.chips(block)
    answer = np.full((2, CLASSES, 16, 16), 0.5, np.float32)
    answer[1] = np.nan  # what fills the batch says nothing
    host = where == "host"
    total = (
        HostSums(FakeBackend(identity), grid, block, CLASSES)
        if host
        else DeviceSums(lambda chips: chips, "cpu", 2, grid, block, CLASSES)
    )
    total.stitch([chip], answer.copy() if host else torch.from_numpy(answer.copy()))
    answer[0, 1, 3, 3] = np.nan
    with pytest.raises(RunError, match=r"NaN in block 0,1 \(rows 0 to 16, columns 12 to"):
        total.stitch([chip], answer if host else torch.from_numpy(answer))
