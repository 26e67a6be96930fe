"""Files of unfinished work: what is read is what was written, and what is damaged is recognised."""

from __future__ import annotations

import os

import numpy as np
import pytest

from geoseg.errors import RunError
from geoseg.execute.work_file import Content, read_work, write_work

CONTENT = Content(
    {"window": [1, 2, 3, 4], "name": "ä"},
    {
        "map": np.arange(24, dtype=np.uint8).reshape(1, 4, 6),
        "sums": np.arange(30, dtype=np.int32).reshape(2, 3, 5)[:, ::2, 1:],
        "nothing": np.empty((3, 0, 7), np.int32),
    },
)


def test_what_was_written_is_read(tmp_path):
    write_work(tmp_path / "a.block", CONTENT)
    read = read_work(tmp_path / "a.block")
    assert read.values == CONTENT.values
    for name, array in CONTENT.arrays.items():
        assert read.arrays[name].dtype == array.dtype
        assert np.array_equal(read.arrays[name], array)
        assert read.arrays[name].flags.writeable
    assert [path.name for path in tmp_path.iterdir()] == ["a.block"]


def test_the_same_content_makes_the_same_bytes(tmp_path):
    for name in "ab":
        write_work(tmp_path / name, CONTENT)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_every_damaged_byte_and_every_cut_is_noticed(tmp_path):
    path = tmp_path / "a.block"
    write_work(path, CONTENT)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert read_work(path) is None, at
        path.write_bytes(whole[:at])
        assert read_work(path) is None, at
    path.write_bytes(whole + b"x")
    assert read_work(path) is None
    path.write_bytes(whole)
    assert read_work(path) is not None


def test_a_missing_file_is_none(tmp_path):
    assert read_work(tmp_path / "a.block") is None


@pytest.mark.parametrize(
    ("error", "words"),
    [(28, "the disk is full; make room, then --resume"), (5, r"a\.block cannot be written")],
)
def test_what_cannot_be_written_is_one_clear_error_and_leaves_nothing(tmp_path, monkeypatch, error, words):
    def fail(*_args):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(RunError, match=words):
        write_work(tmp_path / "a.block", CONTENT)
    assert list(tmp_path.iterdir()) == []
