"""Plans: what a run takes is what was planned, within its limit, whatever the limit; and the network's own cost."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import geoseg
from geoseg.errors import SettingsError
from geoseg.models import open_model
from geoseg.plan import measure as costs
from geoseg.plan import plan as plans
from geoseg.plan.measure import NetworkCost, measured_cost, usual_cost
from geoseg.plan.settings import ComputeOptions, resolve_settings
from geoseg.progress import Silent
from geoseg.system.cache import MEASURED, keep
from geoseg.units import parse_memory
from tests.saying import Saying

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "import sys; from geoseg.cli import main; sys.exit(main())", "predict"]
SIZE = 900


def run(*arguments, fails=False):
    """A command: the most bytes that its whole process tree held, and what it said."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    tree, members, peak = psutil.Process(process.pid), [], 0
    for look in itertools.count():
        if process.poll() is not None:
            break
        if look % 10 == 0:  # it reads what the system knows of every process
            members = [tree, *tree.children(recursive=True)]
        total = 0
        for member in members:
            try:
                total += member.memory_info().rss
            except psutil.Error:
                continue
        peak = max(peak, total)
        time.sleep(0.01)
    said = process.stdout.read()
    assert (process.returncode == 2) if fails else (process.returncode == 0), said
    return peak, said


@pytest.fixture(scope="module")
def big_scene(tmp_path_factory):
    """A scene of the generator, large enough that its blocks matter."""
    folder = tmp_path_factory.mktemp("plan")
    maker = [sys.executable, str(ROOT / "sample_tiles" / "make.py"), "--size", str(SIZE), str(SIZE)]
    options = ["--dtype", "uint16", "--no-corner", "--no-labels", "--seed", "7", "--out", str(folder)]
    subprocess.run([*maker, *options], check=True, capture_output=True)
    return folder / "scene.tif"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="measures as Linux tells")
def test_memory_stays_within_every_limit_and_is_what_was_planned(big_scene, tmp_path):
    usual = [big_scene, "--backend", "openvino", "--quiet"]
    run(*usual, "-o", tmp_path / "no.tif", "--dry-run")  # torch, which converts the network, takes more
    _, refusal = run(*usual, "-o", tmp_path / "no.tif", "--dry-run", "--max-memory", "150MB", fails=True)
    assert "--max-memory 150 MB is too little for this model and scene: give at least" in refusal
    least = parse_memory(refusal.split("at least ")[1].split()[0])
    maps = []
    for limit in (least, 3_000_000_000):
        folder = tmp_path / str(limit)
        folder.mkdir()
        outputs = ["-o", folder / "c.tif", "--confidence", folder / "k.tif", "--report", folder / "r.json"]
        peak, _ = run(*usual, *outputs, "--max-memory", limit)
        plan = json.loads((folder / "r.json").read_text())["plan"]
        assert plan["measured"]
        assert plan["memory_limit_bytes"] == limit
        assert peak <= limit
        assert 0.75 < plan["memory_bytes"] / peak < 1.25
        maps.append([(folder / name).read_bytes() for name in ("c.tif", "k.tif")])
        concurrency, block_size = plan["concurrency"], plan["block_size"]
    assert maps[0] == maps[1]
    little = json.loads((tmp_path / str(least) / "r.json").read_text())["plan"]
    assert (little["concurrency"], little["block_size"]) < (concurrency, block_size)
    assert not (tmp_path / "no.tif").exists()


def test_margins_that_wait_on_disk_give_the_same_bytes(scene, tiny_model, tmp_path, monkeypatch):
    def predict(name):
        options = {"model": tiny_model, "block_size": 96, "chip_size": 32, "overlap": 12, "force": True}
        geoseg.predict(scene, tmp_path / name, **options, report=tmp_path / f"{name}.json")
        return (tmp_path / name).read_bytes(), json.loads((tmp_path / f"{name}.json").read_text())

    in_memory, report = predict("a.tif")
    assert report["plan"]["margins_on_disk"] is False
    fit, read = plans.choose_blocks, []
    monkeypatch.setattr(plans, "choose_blocks", lambda *a, **k: replace(fit(*a, **k), margins_on_disk=True))
    from geoseg.execute.block_store import BlockStore

    taken = BlockStore.margin
    monkeypatch.setattr(BlockStore, "margin", lambda self, place: read.append(place) or taken(self, place))
    on_disk, report = predict("b.tif")
    assert report["plan"]["margins_on_disk"] is True
    assert read
    assert {place.owner[0] - place.source[0] for place in read} == {1}
    assert on_disk == in_memory


def test_the_plan_says_what_was_chosen_and_writes_nothing(scene, tiny_model, tmp_path):
    result = geoseg.predict(
        scene, tmp_path / "map.tif", model=tiny_model, max_memory="6GB", dry_run=True, force=True
    )
    plan = result.plan
    assert plan.memory_limit_bytes == 6 * 10**9
    assert plan.to_json()["memory"]["total"] == plan.memory_bytes < 6 * 10**9
    assert plan.computed_per_pixel == pytest.approx(plan.chips * plan.settings.chip_size**2 / (150 * 130))
    assert f"{plan.settings.concurrency} at once" in plan.summary()
    assert "of 6.00 GB" in plan.summary()
    one = replace(plan, size=replace(plan.size, chips=1), blocks=1).summary()
    assert re.search(r" 1 chip of \d+ with .* in 1 block of \d+, ", one)
    assert json.loads(json.dumps(plan.to_json()))["concurrency"] == plan.settings.concurrency
    assert not list(tmp_path.glob("map*"))


def test_without_a_limit_little_free_memory_is_used_before_a_run_is_refused(
    scene, tiny_model, tmp_path, monkeypatch
):
    usual = geoseg.predict(scene, tmp_path / "m.tif", model=tiny_model, dry_run=True, force=True).plan
    free = int(usual.memory_bytes * 1.3)
    monkeypatch.setattr(plans, "default_limit", lambda: free // 2)
    monkeypatch.setattr(plans, "free_memory", lambda: free)
    plan = geoseg.predict(scene, tmp_path / "m.tif", model=tiny_model, dry_run=True, force=True).plan
    assert plan.memory_limit_bytes == free
    monkeypatch.setattr(plans, "free_memory", lambda: free // 4)
    with pytest.raises(SettingsError, match="give at least"):
        geoseg.predict(scene, tmp_path / "m.tif", model=tiny_model, dry_run=True, force=True)


def test_when_a_plan_measures_and_what(scene, tiny_model, tmp_path, monkeypatch):
    asked = []

    def measured(model, settings, _progress, *, exactly=False):
        asked.append(exactly)
        return usual_cost(model, settings)

    def plan(**options):
        return geoseg.predict(
            scene, tmp_path / "m.tif", model=tiny_model, dry_run=True, force=True, **options
        ).plan

    monkeypatch.setattr(plans, "measured_cost", measured)
    chips = plan().chips
    assert asked == []
    monkeypatch.setattr(plans, "_WORTH_MEASURING", chips * 64**2 / 1e6)  # pixels, not chips
    plan()
    assert asked == [False]
    plan(max_memory="8GB")
    assert asked == [False, True]
    with pytest.raises(SettingsError, match="leave --chip-size 128 out"):
        plan(max_memory="100MB", chip_size=128)


@pytest.fixture
def tiny(tiny_model, tmp_path, monkeypatch):
    """A model and settings for it, with a folder of their own for figures."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = open_model(tiny_model)
    asked = ComputeOptions(backend="torch", device="cpu", precision="fp32")
    return model, resolve_settings(model, (1, 2), asked)


@pytest.mark.slow
def test_a_cost_is_measured_once_and_kept(tiny, monkeypatch):
    model, settings = tiny
    said = Saying()
    found = measured_cost(model, settings, said)
    assert found.measured
    assert len(said.lines) == 1
    assert 0 < found.process < found.loaded
    assert 0 < found.per_inference < 500_000_000
    assert 0 < found.seconds < 10

    def never(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(costs, "_measure_elsewhere", never)
    assert measured_cost(model, settings, Silent()) == found
    with pytest.raises(AssertionError, match="measured again"):
        measured_cost(model, replace(settings, precision="bf16"), Silent())


def test_chips_of_all_sizes_are_measured_as_the_models_own(tiny, monkeypatch):
    model, settings = tiny
    monkeypatch.setattr(costs, "_measure_elsewhere", lambda *_: NetworkCost(10, 20, 1000, 4.0))
    assert measured_cost(model, settings, Silent()) == NetworkCost(10, 20, 1000, 4.0)

    def never(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(costs, "_measure_elsewhere", never)
    larger = replace(settings, chip_size=3 * settings.chip_size)
    assert measured_cost(model, larger, Silent()) == NetworkCost(10, 20, 9000, 36.0)
    with pytest.raises(AssertionError, match="measured again"):
        measured_cost(model, larger, Silent(), exactly=True)
    with pytest.raises(AssertionError, match="measured again"):
        measured_cost(model, replace(larger, backend="onnx"), Silent())


def test_damaged_figures_are_measured_again_and_others_are_usual(tiny, tmp_path, monkeypatch):
    model, settings = tiny
    figures = iter([NetworkCost(1, 2, 3, 4.0), None, None])
    monkeypatch.setattr(costs, "_measure_elsewhere", lambda *_: next(figures))
    assert measured_cost(model, settings, Silent()) == NetworkCost(1, 2, 3, 4.0)
    (kept,) = (tmp_path / "cache" / "geoseg" / "measured").iterdir()
    kept.write_bytes(kept.read_bytes()[:-5])
    assert measured_cost(model, settings, Silent()) == usual_cost(model, settings)
    keep(kept.stem, b'{"another": "revision"}', MEASURED)
    assert not measured_cost(model, settings, Silent()).measured


def test_another_processor_is_measured_apart(tiny, monkeypatch):
    model, settings = tiny
    figures = iter([NetworkCost(1, 2, 3, 4.0), NetworkCost(5, 6, 7, 8.0)])
    monkeypatch.setattr(costs, "_measure_elsewhere", lambda *_: next(figures))
    found = []
    for name in ("A", "B", "A"):
        monkeypatch.setattr(costs, "processor_name", lambda name=name: name)
        found.append(measured_cost(model, settings, Silent()).process)
    assert found == [1, 5, 1]


def test_a_process_that_fails_leaves_the_usual_figures(tiny, monkeypatch):
    model, settings = tiny
    unknown = replace(settings, tta="none of these")
    measure, failed = costs.measure_in_new_process, []

    def watched(*arguments):
        with pytest.raises(subprocess.SubprocessError) as caught:
            measure(*arguments)
        failed.append(caught.value)
        raise caught.value

    monkeypatch.setattr(costs, "measure_in_new_process", watched)
    assert measured_cost(model, unknown, Silent()) == usual_cost(model, unknown)
    assert len(failed) == 1


def test_a_larger_chip_or_batch_is_expected_to_take_more(tiny):
    model, settings = tiny
    usual = usual_cost(model, settings)
    for larger in (replace(settings, chip_size=128), replace(settings, batch_size=4)):
        cost = usual_cost(model, larger)
        assert cost.per_inference == 4 * usual.per_inference
        assert cost.seconds == pytest.approx(4 * usual.seconds)


def test_workers_are_planned_one_by_one(scene, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(plans, "default_limit", lambda: 8 * 10**9)
    options = {"model": tiny_model, "dry_run": True, "force": True, "block_size": 96}
    alone, one_of_four = (
        geoseg.predict(scene, tmp_path / "m.tif", **options, **more).plan for more in ({}, {"workers": 4})
    )
    assert one_of_four.memory_limit_bytes == alone.memory_limit_bytes / 4
    assert one_of_four.settings.concurrency == 1
    assert one_of_four.to_json()["memory"]["pixels"] < alone.to_json()["memory"]["pixels"]
    asked = geoseg.predict(scene, tmp_path / "m.tif", **options, workers=4, max_memory="3GB").plan
    assert asked.memory_limit_bytes == 3 * 10**9
