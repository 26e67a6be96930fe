"""Files appear complete or not at all, whatever happens, and what killed processes leave is found again."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from geoseg import files
from geoseg.errors import OutputError, RunError
from geoseg.files import (
    StagedFile,
    atomic,
    atomic_group,
    discard,
    publish,
    remove_folder,
    remove_leftovers,
    remove_temporary_files,
    scratch_file,
    stage_json,
    temporary_path,
    work_folder,
    write_file,
    write_json,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


class TestAtomic:
    def test_the_file_appears_at_the_end(self, tmp_path):
        path = tmp_path / "map.tif"
        path.write_bytes(b"old")
        with atomic(path) as part:
            part.write_bytes(b"new")
            assert path.read_bytes() == b"old"
            assert re.fullmatch(rf"\.map\.{os.getpid()}\.[0-9a-f]{{8}}\.part\.tif", part.name)
        assert path.read_bytes() == b"new"
        assert names(tmp_path) == ["map.tif"]

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
    def test_nothing_is_left_of_a_block_that_raises(self, tmp_path, error):
        path = tmp_path / "fields.gpkg"
        path.write_bytes(b"old")
        (tmp_path / "fields.gpkg-wal").write_bytes(b"its own")

        def write():
            with atomic(path) as part:
                part.write_bytes(b"half")
                part.with_name(part.name + "-journal").write_bytes(b"SQLite's")
                raise error

        with pytest.raises(error):
            write()
        assert names(tmp_path) == ["fields.gpkg", "fields.gpkg-wal"]
        assert path.read_bytes() == b"old"

    @pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
    def test_nothing_is_left_where_the_disk_is_full(self, tmp_path, monkeypatch, step):
        monkeypatch.setattr(step, full_disk)
        (tmp_path / "a").write_text("old")
        with pytest.raises(OSError, match="No space"):
            write_file(tmp_path / "a", "new")
        assert names(tmp_path) == ["a"]
        assert (tmp_path / "a").read_text() == "old"

    @pytest.mark.skipif(sys.platform == "win32", reason="processes end otherwise there")
    @pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
    def test_a_killed_process_leaves_the_old_file_and_a_leftover(self, tmp_path, step):
        path = tmp_path / "map.tif"
        path.write_bytes(b"old")
        code = (
            "import os, signal, sys, pathlib\n"
            "from geoseg.files import write_file\n"
            f"{step} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
            "write_file(pathlib.Path(sys.argv[1]), b'new')\n"
        )
        ended = subprocess.run([sys.executable, "-c", code, path], check=False)
        assert ended.returncode == -signal.SIGKILL
        assert path.read_bytes() == b"old"
        assert len(names(tmp_path)) == 2
        remove_leftovers([path])
        assert names(tmp_path) == ["map.tif"]

    def test_the_file_is_flushed_before_it_is_renamed_unless_speed_counts(self, tmp_path, monkeypatch):
        done = []
        flush, rename = os.fsync, os.replace
        monkeypatch.setattr("os.fsync", lambda number: done.append("flush") or flush(number))
        monkeypatch.setattr("os.replace", lambda *paths: done.append("rename") or rename(*paths))
        write_file(tmp_path / "a", b"1")
        assert done == ["flush", "rename"]
        write_file(tmp_path / "b", b"2", sync=False)
        assert done == ["flush", "rename", "rename"]

    def test_threads_that_write_one_file_do_not_meet(self, tmp_path):
        path, start = tmp_path / "entry", threading.Barrier(8)

        def write(number):
            start.wait()
            for _ in range(20):
                write_file(path, bytes([number]) * 1000, sync=False)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(path.read_bytes())) == 1
        assert names(tmp_path) == ["entry"]


class TestGroups:
    def test_all_appear_in_order_or_none(self, tmp_path, monkeypatch):
        paths, published, rename = [tmp_path / "map.qml", tmp_path / "map.tif"], [], os.replace
        monkeypatch.setattr("os.replace", lambda a, b: published.append(b) or rename(a, b))
        with atomic_group(paths) as parts:
            for part in parts:
                part.write_text("new")
            assert not any(path.exists() for path in paths)
        assert published == paths

        def fail():
            with atomic_group(paths) as (first, _):
                first.write_text("newer")
                raise ValueError("second")

        with pytest.raises(ValueError, match="second"):
            fail()
        assert {path.read_text() for path in paths} == {"new"}
        assert names(tmp_path) == ["map.qml", "map.tif"]

    def test_none_appears_where_one_was_not_written(self, tmp_path):
        with pytest.raises(FileNotFoundError), atomic_group([tmp_path / "a", tmp_path / "b"]) as (first, _):
            first.write_text("a")
        assert names(tmp_path) == []

    def test_stale_sidecars_go_and_fresh_ones_stay(self, tmp_path):
        old = ["map.qml", "map.tif", "map.tif.aux.xml", "map.tif.msk", "map.tif.ovr", "fields.gpkg-wal"]
        for name in (*old, "other.qml", "fields.gpkg"):
            (tmp_path / name).write_text("old")
        with atomic_group([tmp_path / name for name in ("map.qml", "map.tif", "fields.gpkg")]) as parts:
            for part in parts:
                part.write_text("new")
        assert names(tmp_path) == ["fields.gpkg", "map.qml", "map.tif", "other.qml"]
        assert (tmp_path / "map.qml").read_text() == "new"

    def test_staged_files_can_be_given_up(self, tmp_path):
        first, second = (StagedFile.beside(tmp_path / name) for name in ("a[1].tif", "a[1].gpkg"))
        first.staged.write_text("")
        first.staged.with_name(first.staged.name + ".aux.xml").write_text("GDAL's")
        second.staged.write_text("")
        discard([first])
        assert names(tmp_path) == [second.staged.name]
        publish([second])
        assert names(tmp_path) == ["a[1].gpkg"]


class TestLeftovers:
    def test_those_of_processes_that_run_stay(self, tmp_path):
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        alive = [temporary_path(tmp_path / "map.tif"), tmp_path / f".map.{os.getppid()}.0a.part.tif"]
        gone = [
            tmp_path / f".map.{dead.pid}.0a.part.tif",
            tmp_path / f".map.{dead.pid}.0a.part.qml",
            tmp_path / f".map.tif.aux.{dead.pid}.0a.part.xml",
            tmp_path / f".map.{dead.pid}.0a.part.gpkg-journal",
        ]
        others = [
            tmp_path / f".other.{dead.pid}.0a.part.tif",
            tmp_path / "map.1.0a.part.tif",
            tmp_path / ".map.part",
        ]
        for path in (*alive, *gone, *others):
            path.write_text("")
        folder = tmp_path / f".map.tif.{dead.pid}.0a.part.geoseg-work"
        (folder / "blocks").mkdir(parents=True)
        remove_leftovers([tmp_path / "map.tif"])
        assert names(tmp_path) == sorted(path.name for path in (*alive, *others))

    def test_a_folder_that_nobody_else_writes_in_is_cleared_of_all(self, tmp_path):
        for name in (f".r1c1.{os.getpid()}.0a.part.block", "r1c1.block", ".hidden", ".a.part.block"):
            (tmp_path / name).write_text("")
        remove_temporary_files(tmp_path)
        assert names(tmp_path) == [".a.part.block", ".hidden", "r1c1.block"]

    def test_whose_process_runs_is_asked_of_the_system(self):
        assert files._is_running(os.getpid())
        assert files._is_running(os.getppid())
        assert not files._is_running(99_999_999)


class TestReports:
    def test_json(self, tmp_path):
        write_json(tmp_path / "report.json", {"name": "Füße", "count": 1})
        assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == {
            "name": "Füße",
            "count": 1,
        }
        file = stage_json(tmp_path / "next.json", {})
        assert names(tmp_path) == [file.staged.name, "report.json"]

    def test_a_full_disk_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setattr("pathlib.Path.write_bytes", full_disk)
        with pytest.raises(RunError, match=r"report\.json cannot be written .* is the disk full\?"):
            write_json(tmp_path / "report.json", {})
        assert names(tmp_path) == []


class TestFolders:
    def test_unfinished_work_is_gone_afterwards(self, tmp_path):
        folder = tmp_path / "work"

        def fail():
            with work_folder(folder, overwrite=False) as path:
                (path / "a").write_text("")
                raise ValueError("x")

        with pytest.raises(ValueError, match="x"):
            fail()
        assert names(tmp_path) == []
        folder.mkdir()
        with pytest.raises(OutputError, match="--overwrite"), work_folder(folder, overwrite=False):
            pass
        with work_folder(folder, overwrite=True):
            assert names(folder) == []

    def test_a_folder_disappears_in_one_step(self, tmp_path, monkeypatch):
        seen = []
        remove = files.shutil.rmtree
        monkeypatch.setattr(
            "shutil.rmtree", lambda path, **o: seen.append((tmp_path / "work").exists()) or remove(path, **o)
        )
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "a").write_text("")
        remove_folder(tmp_path / "work")
        assert not any(seen)
        assert names(tmp_path) == []
        remove_folder(tmp_path / "work")


def test_scratch_file_is_closed_on_a_full_disk(monkeypatch):
    monkeypatch.setattr(files.tempfile, "TemporaryFile", lambda **_: io.FileIO("/dev/full", "r+"))
    file = scratch_file()
    file.write(b"what has no room")
    file.close()
    assert file.closed
