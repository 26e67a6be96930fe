"""What is said where the disk is full, which neither SQLite nor GDAL tells."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from geoseg.errors import RunError
from geoseg.polygons.writers import WRITERS
from geoseg.polygons.writers.writing import write_polygons, writer_for
from tests.polygons.helpers import trace_files


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_full_disk_is_named_whatever_gdal_says(small_map, tmp_path, monkeypatch, suffix):
    def fail(*_):
        raise RuntimeError("cannot rollback - no transaction is active")

    table, path = trace_files(small_map.class_map), tmp_path / f"a{suffix}"
    monkeypatch.setattr(type(writer_for(path)), "write", fail)
    with pytest.raises(RunError, match="could not be written: cannot rollback"):
        write_polygons(table, path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
    with pytest.raises(RunError, match=rf"a\{suffix} could not be written: the disk is full; make room"):
        write_polygons(table, path)
    assert not list(tmp_path.glob("*a.*"))
