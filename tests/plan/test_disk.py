"""A full disk is said beforehand; it refuses nothing."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import geoseg
from geoseg.plan.plan import disk_shortage


def test_too_little_room_is_a_warning_in_the_report(tiny_model, scene, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=12_000_000))
    result = geoseg.predict(scene, tmp_path / "map.tif", model=tiny_model, force=True)
    assert not any("are free" in warning for warning in result.report["warnings"])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    result = geoseg.predict(scene, tmp_path / "map.tif", model=tiny_model, force=True, overwrite=True)
    (warning,) = [warning for warning in result.report["warnings"] if "are free" in warning]
    assert f"beside {tmp_path / 'map.tif'}" in warning
    assert "--resume" in warning


def test_room_that_is_not_known_is_no_shortage(tmp_path):
    assert disk_shortage(10**18, tmp_path / "missing" / "map.tif") is None
    assert "1000000000.00 GB beside" in disk_shortage(10**18, tmp_path / "map.tif")
