"""The cache of converted networks: whole or nothing, and never in the way."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from geoseg.system import cache
from geoseg.system.cache import MEASURED, NETWORKS, cache_folder, keep, recall


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return tmp_path


def test_what_was_kept_comes_back():
    assert recall("a-1") is None
    assert keep("a-1", b"network").parent == cache_folder()
    assert recall("a-1") == b"network"
    assert recall("a-2") is None


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 32 + b"network"])
def test_a_damaged_entry_counts_as_none_and_is_made_again(damage):
    path = keep("a", b"network")
    path.write_bytes(damage)
    assert recall("a") is None
    keep("a", b"network")
    assert recall("a") == b"network"


def test_one_flipped_bit_is_noticed():
    path = keep("a", b"network")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert recall("a") is None


def test_a_cache_that_cannot_be_written_gives_way_to_a_temporary_one(own):
    (own / "cache").write_text("a file where a folder should be")
    path = keep("a", b"network")
    assert path.is_relative_to(own / "temporary")
    assert recall("a") == b"network"
    if os.name == "posix":
        assert path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_temporary_folder_that_others_can_write_is_not_used(own):
    (own / "cache").write_text("no folder")
    open_to_all = own / "temporary" / f"geoseg-networks-{os.getuid()}"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    assert keep("a", b"network") is None
    assert recall("a") is None


def test_a_link_in_the_place_of_the_temporary_folder_is_not_followed(own):
    (own / "cache").write_text("no folder")
    (own / "elsewhere").mkdir(mode=0o700)
    (own / "temporary" / f"geoseg-networks-{os.getuid()}").symlink_to(own / "elsewhere")
    assert keep("a", b"network") is None


def test_figures_lie_apart_from_networks_and_do_not_push_them_out(monkeypatch):
    monkeypatch.setitem(cache._KEPT, MEASURED, 2)
    keep("a", b"network")
    for number in range(4):
        os.utime(keep(f"a-{number}", b"figures", MEASURED), (1000 + number, 1000 + number))
    keep("a", b"figures", MEASURED)
    assert recall("a") == b"network"
    assert recall("a", MEASURED) == b"figures"
    assert recall("a-3", MEASURED) == b"figures"
    assert recall("a-2", MEASURED) is None
    assert len(list(cache_folder(MEASURED).iterdir())) == 2


def test_figures_too_have_a_temporary_folder(own):
    (own / "cache").write_text("no folder")
    keep("a", b"figures", MEASURED)
    assert recall("a", MEASURED) == b"figures"
    assert recall("a") is None


def test_many_writers_leave_one_whole_entry():
    data = [bytes([n]) * 200_000 for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: keep("a", one), data))
    assert recall("a") in data
    assert [path.name for path in cache_folder().iterdir()] == ["a.network"]


def test_the_entries_not_used_for_longest_go(monkeypatch):
    monkeypatch.setitem(cache._KEPT, NETWORKS, 3)
    for age, key in enumerate("abc"):
        os.utime(keep(key, b"network"), (1000 + age, 1000 + age))
    recall("a")
    keep("d", b"network")
    assert [key for key in "abcd" if recall(key)] == ["a", "c", "d"]


@pytest.mark.skipif(os.name != "posix", reason="homes of other systems are found otherwise")
def test_a_user_without_a_home_keeps_entries_among_temporary_files(own, monkeypatch):
    def no_home(_path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(cache.Path, "expanduser", no_home)
    assert keep("a", b"network").parent == own / "temporary" / f"geoseg-networks-{os.getuid()}"
    assert recall("a") == b"network"
