"""How many forwards run at once: measured only where there is a choice, in turns, once, and never the answer."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import geoseg
from geoseg.models import open_model
from geoseg.plan import forwards, measured
from geoseg.plan import plan as plans
from geoseg.plan import settings as settings_module
from geoseg.plan.forwards import candidates_for, choose_forwards, fastest
from geoseg.plan.measured import measure_elsewhere
from geoseg.plan.settings import AskedSettings, resolve_settings
from geoseg.system.cache import MEASURED, cache_folder
from geoseg.system.cpu import physical_cores

MANY = 10_000


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("most", "physical", "expected"),
    [(8, 4, (8, 4)), (8, 8, (8,)), (8, None, (8,)), (2, 4, (2,)), (6, 4, (6, 4)), (1, 1, (1,))],
)
def test_candidates(most, physical, expected):
    assert candidates_for(most, physical) == expected


class Rates:
    """Answers what was put down for each turn, and keeps in which order it was asked."""

    def __init__(self, **turns):
        self.turns = {int(name[1:]): iter(values) for name, values in turns.items()}
        self.asked = []

    def __call__(self, count):
        self.asked.append(count)
        return next(self.turns[count])


@pytest.mark.parametrize(
    ("most", "fewer", "expected"),
    [
        ((10, 10), (11.5, 12), 4),
        ((10, 10), (11.001, 11.001), 4),
        ((10, 10), (10.9, 14), 8),
        ((10, 10), (14, 10.9), 8),
        ((10, 20), (20, 21), 8),
        ((10, 10), (10, 10), 8),
        ((10, 10), (5, 5), 8),
    ],
)
def test_fewer_win_only_if_they_are_clearly_faster_in_both_turns(most, fewer, expected):
    rate = Rates(n8=most, n4=fewer)
    found = choose_forwards((8, 4), rate)
    assert found == {"forwards": expected, "rates": [[most[0], fewer[0]], [most[1], fewer[1]]]}
    assert rate.asked == [8, 4, 4, 8]


def test_of_several_the_one_that_gains_most_for_sure():
    assert choose_forwards((8, 4, 2), Rates(n8=(10, 10), n4=(12, 19), n2=(13, 13)))["forwards"] == 2


@given(st.lists(st.tuples(st.floats(1, 100), st.floats(1, 100)), min_size=2, max_size=2))
def test_the_most_are_left_only_for_what_is_faster_every_time(turns):
    rates = Rates(n8=[most for most, _ in turns], n4=[fewer for _, fewer in turns])
    wins = all(fewer / most >= 1.1 for most, fewer in turns)
    assert choose_forwards((8, 4), rates)["forwards"] == (4 if wins else 8)


@pytest.fixture
def tiny(tiny_model):
    model = open_model(tiny_model)
    asked = AskedSettings(backend="torch", device="cpu", precision="fp32")
    return model, replace(resolve_settings(model, (1, 2), asked), forwards=4)


@pytest.fixture
def two_threads_a_core(monkeypatch):
    """Four processors on two cores."""
    monkeypatch.setattr(settings_module, "cores", lambda: 4)
    monkeypatch.setattr(forwards, "physical_cores", lambda: 2)


def never(*_):
    raise AssertionError("measured")


class Measured:
    """Stands in for the process that measures."""

    def __init__(self, monkeypatch, count):
        self.count, self.settings = count, []
        monkeypatch.setattr(forwards, "measure_elsewhere", self)

    def __call__(self, _measure, _model, settings):
        self.settings.append(settings)
        return {"forwards": self.count, "rates": []}


@pytest.mark.parametrize("physical", [None, 4, 9])
def test_where_there_is_no_choice_nothing_is_measured(tiny, monkeypatch, physical):
    monkeypatch.setattr(forwards, "physical_cores", lambda: physical)
    monkeypatch.setattr(forwards, "measure_elsewhere", never)
    assert fastest(*tiny, MANY, never) is None


@pytest.mark.usefixtures("two_threads_a_core")
class TestFastest:
    def test_it_is_measured_once_and_said_in_one_line(self, tiny, monkeypatch):
        model, settings = tiny
        said, process = [], Measured(monkeypatch, 2)
        for _ in range(2):
            assert fastest(model, settings, MANY, said.append) == 2
        assert len(process.settings) == len(said) == 1
        assert said[0].startswith("measuring whether 4 or 2 forwards at once are faster, once ")

    def test_the_plain_network_is_measured_for_every_augmentation(self, tiny, monkeypatch):
        model, settings = tiny
        process = Measured(monkeypatch, 2)
        for tta in ("d4", "none"):
            assert fastest(model, replace(settings, tta=tta), MANY, str) == 2
        assert [one.tta for one in process.settings] == ["none"]

    @pytest.mark.parametrize(
        "change",
        [{"precision": "bf16"}, {"backend": "onnx", "chip_size": 128}, {"batch_size": 2}, {"forwards": 3}],
    )
    def test_what_it_depends_on_is_measured_apart(self, tiny, monkeypatch, change):
        model, settings = tiny
        process = Measured(monkeypatch, 2)
        for wanted in (settings, replace(settings, **change)):
            assert fastest(model, wanted, MANY, str) == 2
        assert len(process.settings) == 2

    def test_chips_of_all_sizes_are_measured_as_the_models_own(self, tiny, monkeypatch):
        model, settings = tiny
        process = Measured(monkeypatch, 2)
        for size in (settings.chip_size, 128, 32):
            assert fastest(model, replace(settings, chip_size=size), MANY, str) == 2
        assert [one.chip_size for one in process.settings] == [settings.chip_size]

    def test_so_is_another_processor(self, tiny, monkeypatch):
        process = Measured(monkeypatch, 2)
        for name in ("A", "B", "A"):
            monkeypatch.setattr(measured, "processor_name", lambda name=name: name)
            assert fastest(*tiny, MANY, str) == 2
        assert len(process.settings) == 2

    def test_a_damaged_entry_is_measured_again(self, tiny, monkeypatch):
        process = Measured(monkeypatch, 2)
        fastest(*tiny, MANY, str)
        (kept,) = cache_folder(MEASURED).iterdir()
        kept.write_bytes(kept.read_bytes()[:-3])
        assert fastest(*tiny, MANY, str) == 2
        assert len(process.settings) == 2

    def test_a_short_run_measures_nothing_but_uses_what_is_kept(self, tiny, monkeypatch):
        process = Measured(monkeypatch, 2)
        assert fastest(*tiny, 79, never) is None
        assert not process.settings
        assert fastest(*tiny, 80, str) == 2
        assert fastest(*tiny, 1, never) == 2

    @pytest.mark.parametrize(
        "error", [OSError("no"), subprocess.CalledProcessError(1, "x"), ValueError("no")]
    )
    def test_what_cannot_be_measured_is_left_as_it_was(self, tiny, monkeypatch, error):
        def fail(*_):
            raise error

        monkeypatch.setattr(forwards, "measure_elsewhere", fail)
        assert fastest(*tiny, MANY, str) is None


class Crowded:
    """A backend whose forwards take ten times as long where more than two run; the first of a thread is slow."""

    def __init__(self):
        self.running, self.lock, self.local = 0, threading.Lock(), threading.local()

    def prepare_thread(self):
        self.local.prepared = True

    def probabilities(self, chips):
        assert self.local.prepared
        assert chips.shape == (1, 2, 64, 64)
        with self.lock:
            self.running += 1
            crowded = self.running > 2
        first, self.local.first = getattr(self.local, "first", True), False
        time.sleep(0.4 if first else 0.1 if crowded else 0.01)
        with self.lock:
            self.running -= 1


def test_what_is_measured_is_what_forwards_take_beside_each_other(tiny, monkeypatch):
    monkeypatch.setattr(forwards, "make_backend", lambda *_: Crowded())
    monkeypatch.setattr(forwards, "physical_cores", lambda: 2)
    found = forwards.measure_here(*tiny)
    assert found["forwards"] == 2
    for four, two in found["rates"]:
        assert four > 20, "of four threads; with their slow first forwards it would be ten"
        assert 1.2 * four < two < 200


def test_a_process_of_its_own_measures_and_says_what(tiny):
    physical = physical_cores()
    if physical is None:
        pytest.skip("this system does not say what its cores are")
    model, settings = tiny
    found = measure_elsewhere(forwards.measure_here, model, replace(settings, forwards=physical + 1))
    assert found["forwards"] in (physical, physical + 1)
    assert [len(turn) for turn in found["rates"]] == [2, 2]
    assert all(rate > 0 for turn in found["rates"] for rate in turn)


def test_a_process_that_fails_is_an_error_that_is_caught(tiny):
    model, settings = tiny
    with pytest.raises(subprocess.SubprocessError):
        measure_elsewhere(forwards.measure_here, model, replace(settings, backend="none"))


class TestPredict:
    OPTIONS = {"force": True, "chip_size": 16, "overlap": 0, "backend": "torch", "precision": "fp32"}  # noqa: RUF012

    def run(self, scene, model, folder, **more):
        folder.mkdir()
        path = folder / "m.tif"
        report = geoseg.predict(scene, path, model=model, **self.OPTIONS, **more).report
        return report, path.read_bytes()

    def chosen(self, report):
        return report["settings"]["forwards"], report["settings"]["forwards_by"]

    @pytest.mark.usefixtures("two_threads_a_core")
    def test_the_report_says_how_the_number_was_chosen_and_the_map_is_the_same(
        self, scene, tiny_model, tmp_path, monkeypatch
    ):
        process = Measured(monkeypatch, 2)
        first, reference = self.run(scene, tiny_model, tmp_path / "a")
        assert self.chosen(first) == (2, "measured")
        assert first["plan"]["forwards"] == 2
        assert process.settings[0].forwards == 4
        monkeypatch.setattr(forwards, "measure_elsewhere", never)
        asked, bytes_ = self.run(scene, tiny_model, tmp_path / "b", forwards=3)
        assert self.chosen(asked) == (3, "asked")
        assert bytes_ == reference
        monkeypatch.setattr(forwards, "physical_cores", lambda: 4)
        every, bytes_ = self.run(scene, tiny_model, tmp_path / "c")
        assert self.chosen(every) == (4, "cores")
        assert bytes_ == reference
        assert first["plan"]["memory_bytes"] < every["plan"]["memory_bytes"]

    @pytest.mark.usefixtures("two_threads_a_core")
    def test_the_most_can_be_what_was_measured(self, scene, tiny_model, tmp_path, monkeypatch):
        Measured(monkeypatch, 4)
        report, _ = self.run(scene, tiny_model, tmp_path / "a")
        assert self.chosen(report) == (4, "measured")

    @pytest.mark.usefixtures("two_threads_a_core")
    @pytest.mark.parametrize(
        ("fits", "expected"), [(3, (2, "measured")), (2, (2, "memory")), (1, (1, "memory"))]
    )
    def test_no_more_are_tried_than_memory_allows(
        self, scene, tiny_model, tmp_path, monkeypatch, fits, expected
    ):
        process = Measured(monkeypatch, 2)
        fit = plans.fit
        monkeypatch.setattr(
            plans, "fit", lambda *args, forwards, **more: fit(*args, forwards=min(forwards, fits), **more)
        )
        monkeypatch.setattr(forwards, "_WORTH_MEASURING", 1)
        report, _ = self.run(scene, tiny_model, tmp_path / "a")
        assert self.chosen(report) == expected
        assert [settings.forwards for settings in process.settings] == ([3] if fits == 3 else [])

    @pytest.mark.usefixtures("two_threads_a_core")
    def test_workers_have_one_each_and_measure_nothing(self, scene, tiny_model, tmp_path, monkeypatch):
        monkeypatch.setattr(forwards, "measure_elsewhere", never)
        options = self.OPTIONS | {"model": tiny_model, "workers": 2, "dry_run": True}
        assert geoseg.predict(scene, tmp_path / "m.tif", **options).plan.forwards == 1

    def test_the_report_can_be_read_again(self, scene, tiny_model, tmp_path):
        self.run(scene, tiny_model, tmp_path / "a", report=tmp_path / "r.json")
        report = json.loads((tmp_path / "r.json").read_text())
        assert report["settings"]["forwards_by"] in ("cores", "measured", "memory")
