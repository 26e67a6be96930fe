"""Too little room on the disk is said beforehand, and refuses nothing; hardly any is refused."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

import geoseg
from geoseg.errors import OutputError
from geoseg.plan.plan import disk_shortage


def test_too_little_room_is_a_warning_in_the_report(tiny_model, scene, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=12_000_000))
    result = geoseg.predict(scene, tmp_path / "map.tif", model=tiny_model, force=True)
    assert not any("are free" in warning for warning in result.report["warnings"])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000))
    result = geoseg.predict(scene, tmp_path / "map.tif", model=tiny_model, force=True, overwrite=True)
    (warning,) = [warning for warning in result.report["warnings"] if "are free" in warning]
    assert f"beside {tmp_path / 'map.tif'}" in warning
    assert "--resume" in warning


def test_room_that_is_not_known_is_no_shortage(tmp_path, monkeypatch):
    assert disk_shortage(10**18, tmp_path / "missing" / "map.tif") is None
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**17))
    assert "1000000000.00 GB beside" in disk_shortage(10**18, tmp_path / "map.tif")


def test_hardly_any_room_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match=r"map\.tif: there is no room"):
        disk_shortage(10**5, tmp_path / "map.tif")
