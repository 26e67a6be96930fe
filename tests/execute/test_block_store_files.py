"""Files of the block store: what is read is what was written, and what is damaged is recognised."""

from __future__ import annotations

import os

import numpy as np
import pytest

from geoseg.errors import RunError
from geoseg.execute import block_store

VALUES = {"window": [1, 2, 3, 4], "name": "ä"}
ARRAYS = {
    "map classes": np.arange(24, dtype=np.uint8).reshape(1, 4, 6),
    "sums": np.arange(30, dtype=np.int32).reshape(2, 3, 5)[:, ::2, 1:],
    "nothing": np.empty((3, 0, 7), np.int32),
}


def write(path):
    block_store._write(path, VALUES, ARRAYS)


def is_whole(found):
    values, arrays = found
    return values == VALUES and all(
        arrays[name].dtype == array.dtype and np.array_equal(arrays[name], array)
        for name, array in ARRAYS.items()
    )


def test_what_was_written_is_read(tmp_path):
    write(tmp_path / "a.block")
    found = block_store._read(tmp_path / "a.block")
    assert is_whole(found)
    assert all(array.flags.writeable for array in found[1].values())
    assert [path.name for path in tmp_path.iterdir()] == ["a.block"]


def test_a_damaged_byte_and_a_cut_are_noticed_or_change_nothing(tmp_path):
    path = tmp_path / "a.block"
    write(path)
    whole, noticed = path.read_bytes(), 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at])
        assert block_store._read(path) is None, at
        for bit in (1, 128):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            found = block_store._read(path)
            noticed += found is None
            assert found is None or is_whole(found), at
    assert noticed > len(whole)


def test_a_missing_file_is_none(tmp_path):
    assert block_store._read(tmp_path / "a.block") is None


@pytest.mark.parametrize(
    ("error", "words"),
    [(28, "the disk is full; make room, then --resume"), (5, r"a\.block cannot be written")],
)
def test_what_cannot_be_written_is_one_clear_error_and_leaves_nothing(tmp_path, monkeypatch, error, words):
    def fail(*_args):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(RunError, match=words):
        write(tmp_path / "a.block")
    assert list(tmp_path.iterdir()) == []
