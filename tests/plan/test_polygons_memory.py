"""``polygonize --max-memory``: what is chosen, what is refused, and that the answer stays what it was."""

from __future__ import annotations

import re

import numpy as np
import pytest

from geoseg.errors import SettingsError
from geoseg.plan import memory as polygons_memory
from geoseg.plan.memory import TracingPlan, plan_tracing
from geoseg.polygons.borders.options import BorderOptions
from geoseg.units import Length
from geoseg.verbs.polygonize import polygonize
from tests.polygons.conftest import write_raster
from tests.polygons.helpers import noise, trace


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr(polygons_memory, "cores", lambda: 4)
    monkeypatch.setattr(polygons_memory, "gdal_cache", lambda: 64_000_000)


def test_plenty_of_memory_takes_all_cores_and_large_blocks():
    plan = plan_tracing("8GB", None, None, width=100_000, bands=8)
    assert (plan.block_size, plan.workers, plan.limit) == (1024, 4, 8 * 10**9)


def test_less_memory_takes_smaller_blocks_then_fewer_workers():
    limits = range(650, 1500, 50)
    plans = [plan_tracing(limit * 10**6, None, None, width=100_000, bands=8) for limit in limits]
    pixels = [plan.workers * plan.block_size**2 for plan in plans]
    assert pixels == sorted(pixels)
    assert pixels[0] < pixels[-1]


def test_too_little_names_the_least_that_works():
    with pytest.raises(SettingsError, match="take at least") as refused:
        plan_tracing("300MB", None, None, width=10_000, bands=0)
    least = re.search(r"--max-memory (\d+\.\d+GB)$", str(refused.value)).group(1)
    assert plan_tracing(least, None, None, width=10_000, bands=0).block_size >= 256
    with pytest.raises(SettingsError):
        plan_tracing(int(float(least[:-2]) * 1e9) - 10**7, None, None, width=10_000, bands=0)


def test_what_the_user_says_is_kept_or_refused():
    plan = plan_tracing("2GB", 2048, 1, width=5000, bands=0)
    assert (plan.block_size, plan.workers) == (2048, 1)
    with pytest.raises(SettingsError, match="at least"):
        plan_tracing("1GB", 8192, 4, width=9000, bands=0)
    with pytest.raises(SettingsError, match="--workers"):
        plan_tracing("2GB", None, 0, width=5000, bands=0)


def test_a_polygon_that_does_not_fit_is_refused():
    plan = TracingPlan(1024, 1, 10**9)
    plan.check_largest(1_000_000)
    with pytest.raises(SettingsError, match=r"10,000,000 vertices.* about 2\.09 GB.*--max-memory"):
        plan.check_largest(10_000_000)


def test_a_process_that_does_more_has_less_left_for_polygons():
    alone = plan_tracing("1GB", None, None, width=5000, bands=8)
    beside = plan_tracing("1GB", None, None, width=5000, bands=8, fixed=600_000_000)
    assert beside.workers * beside.block_size**2 < alone.workers * alone.block_size**2
    alone.check_largest(3_000_000)
    with pytest.raises(SettingsError, match=r"about 1\.14 GB"):
        beside.check_largest(3_000_000)
    with pytest.raises(SettingsError, match="take at least"):
        plan_tracing("1GB", None, None, width=5000, bands=8, fixed=700_000_000)


def test_what_is_asked_for_is_enough_although_gdals_cache_grows_with_it(monkeypatch):
    limit = 10**9
    monkeypatch.setattr(polygons_memory, "gdal_cache", lambda: limit // 10)
    with pytest.raises(SettingsError) as refused:
        TracingPlan(1024, 1, limit).check_largest(10_000_000)
    text = re.search(r"--max-memory (\d+\.\d+GB)", str(refused.value)).group(1)
    limit = int(float(text[:-2]) * 1e9)
    TracingPlan(1024, 1, limit).check_largest(10_000_000)
    limit -= 2 * 10**7
    with pytest.raises(SettingsError):
        TracingPlan(1024, 1, limit).check_largest(10_000_000)


def test_simpler_borders_that_do_not_fit_are_refused():
    polygons = trace(noise((64, 64)))
    plan = TracingPlan(1024, 1, 294_000_000)
    plan.check_borders(polygons, BorderOptions())
    with pytest.raises(SettingsError, match=f"{polygons.vertices:,} vertices.*--max-memory"):
        plan.check_borders(polygons, BorderOptions(Length(2, True)))
    TracingPlan(1024, 1, 10**9).check_borders(polygons, BorderOptions(Length(2, True), 4))


@pytest.mark.parametrize(
    "options", [{"workers": 1}, {"workers": 3}, {"max_memory": "700MB"}, {"block_size": 50}]
)
def test_the_answer_stays(tmp_path, options):
    path = write_raster(tmp_path / "map.tif", noise((300, 280)))
    polygonize(path, tmp_path / "a.gpkg")
    polygonize(path, tmp_path / "b.gpkg", **options)
    assert (tmp_path / "a.gpkg").read_bytes() == (tmp_path / "b.gpkg").read_bytes()


def test_a_large_polygon_is_refused_while_tracing(tmp_path, monkeypatch):
    from geoseg.polygons.trace import trace as module

    monkeypatch.setattr(module, "PORTION", 100)
    monkeypatch.setattr(polygons_memory, "VERTEX", 10**7)
    comb = np.zeros((64, 128), np.uint8)
    comb[1:, ::2] = 1
    path = write_raster(tmp_path / "map.tif", comb)
    with pytest.raises(SettingsError, match="a polygon of this map has"):
        polygonize(path, tmp_path / "a.gpkg", block_size=16, max_memory="1GB")
    assert [file.name for file in tmp_path.iterdir()] == ["map.tif"]


@pytest.mark.parametrize("options", [{"min_area": "1ha"}, {"simplify": "10m"}])
def test_metres_are_refused_before_any_work(tmp_path, options, monkeypatch):
    from affine import Affine

    path = write_raster(tmp_path / "map.tif", noise((20, 20)), crs=None, transform=Affine.identity())
    monkeypatch.setattr("geoseg.verbs.polygonize.trace_class_map", None)
    with pytest.raises(SettingsError, match=r"map\.tif has no CRS.*give pixels"):
        polygonize(path, tmp_path / "a.gpkg", **options)
