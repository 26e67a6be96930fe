"""Polygons of a prediction that do not fit into memory: refused when they are met, and nothing is lost."""

from __future__ import annotations

import pytest

import geoseg
from geoseg.errors import RunError, SettingsError
from geoseg.plan import memory as polygons_memory
from geoseg.polygons.trace import trace

WORK = "map.tif.geoseg-work"


def predict(scene, model, folder, **options):
    options = {"polygons": folder / "f.fgb", "max_memory": "3GB", "block_size": 50} | options
    return geoseg.predict(scene, folder / "map.tif", model=model, force=True, **options)


@pytest.mark.parametrize(
    ("options", "figure", "words"),
    [
        ({}, "VERTEX", "a polygon of this map has .* vertices"),
        ({"sieve": "2px"}, "VERTEX", "a polygon of this map has .* vertices"),
        ({"simplify": "20m"}, "SIMPLER_VERTEX", "--simplify and --smooth-borders hold all"),
    ],
)
def test_all_blocks_are_kept_for_more_memory(
    scene, tiny_model, tmp_path, monkeypatch, options, figure, words
):
    monkeypatch.setattr(trace, "PORTION", 10)
    monkeypatch.setattr(polygons_memory, "_BLOCKS", (64,))  # polygons within a block wait for nothing
    with monkeypatch.context() as patch:
        patch.setattr(polygons_memory, figure, 10**9)
        with pytest.raises(
            RunError, match=rf"{words}.*give --max-memory \d.*; [1-9] of 9 blocks are kept in .*--resume"
        ) as caught:
            predict(scene, tiny_model, tmp_path, **options)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == [WORK, "scene.tif"]
    report = predict(scene, tiny_model, tmp_path, resume=True, **options).report
    assert report["blocks_resumed"] > 0
    assert sorted(path.suffix for path in tmp_path.glob("f.*")) == [".fgb"]


def test_without_a_limit_only_what_is_free_bounds_a_polygon(scene, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr("geoseg.plan.plan.default_limit", lambda: 3 * 10**9)
    monkeypatch.setattr("geoseg.plan.plan.free_memory", lambda: 6 * 10**9)
    monkeypatch.setattr(trace, "PORTION", 10)
    seen = []
    check = polygons_memory.TracingPlan.check_largest

    def remember(self, vertices):
        seen.append(self.limit)
        check(self, vertices)

    monkeypatch.setattr(polygons_memory.TracingPlan, "check_largest", remember)
    predict(scene, tiny_model, tmp_path, max_memory=None)
    assert set(seen) == {6 * 10**9}


def test_too_little_for_the_process_that_writes_is_refused_before_the_work(scene, tiny_model, tmp_path):
    options = {"workers": 2, "max_memory": "500MB", "dry_run": True, "backend": "openvino"}
    with pytest.raises(SettingsError, match="polygons of this map take at least"):
        predict(scene, tiny_model, tmp_path, **options)
