"""How many chips are in the network at once: chosen by a rule, told in the report, and never the answer."""

from __future__ import annotations

import json

import pytest

import geoseg
from geoseg.plan import plan as plans
from geoseg.plan import settings as settings_module

OPTIONS = {"force": True, "chip_size": 16, "overlap": 0, "backend": "torch", "precision": "fp32"}


@pytest.fixture(autouse=True)
def four_processors(monkeypatch):
    monkeypatch.setattr(settings_module, "cores", lambda: 4)


def run(scene, model, folder, **more):
    folder.mkdir()
    path = folder / "m.tif"
    report = geoseg.predict(scene, path, model=model, **OPTIONS, **more).report
    return report, path.read_bytes()


def chosen(report):
    return report["settings"]["concurrency"], report["settings"]["concurrency_by"]


def test_the_report_says_how_the_number_was_chosen_and_the_map_is_the_same(scene, tiny_model, tmp_path):
    every, reference = run(scene, tiny_model, tmp_path / "a", report=tmp_path / "r.json")
    assert chosen(every) == chosen(json.loads((tmp_path / "r.json").read_text())) == (4, "cores")
    asked, bytes_ = run(scene, tiny_model, tmp_path / "b", concurrency=2)
    assert chosen(asked) == (2, "asked")
    assert asked["plan"]["concurrency"] == 2
    assert asked["plan"]["memory"]["inferences"] < every["plan"]["memory"]["inferences"]
    assert bytes_ == reference


def test_memory_may_allow_fewer(scene, tiny_model, tmp_path, monkeypatch):
    choose = plans.choose_blocks
    monkeypatch.setattr(
        plans, "choose_blocks", lambda *args, **more: choose(*args, **more | {"concurrency": 3})
    )
    report, _ = run(scene, tiny_model, tmp_path / "a")
    assert chosen(report) == (3, "memory")


def test_workers_have_one_each(scene, tiny_model, tmp_path):
    options = OPTIONS | {"model": tiny_model, "workers": 2, "dry_run": True}
    assert geoseg.predict(scene, tmp_path / "m.tif", **options).plan.settings.concurrency == 1
