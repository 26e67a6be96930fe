"""Nothing is left out silently: each verb says what of its inputs it leaves out, counts it, and refuses much."""

from __future__ import annotations

from typing import get_args

import geopandas
import numpy as np
import pytest
import rasterio
import shapely

import geoseg
from geoseg.errors import InputError
from geoseg.omissions import Kind
from geoseg.progress import Silent
from tests.assess.maps import NAMES, patches, write
from tests.conftest import make_scene, save_tiny
from tests.saying import Saying
from tests.verbs.left_out import CELLS, KINDS, VERBS, Case


def test_every_verb_says_of_every_kind_what_it_leaves_out():
    assert set(CELLS) == {(verb, kind) for verb in VERBS for kind in KINDS}
    assert set(KINDS) == set(get_args(Kind))


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(cell, id=" ".join(cell), marks=[pytest.mark.longer] * (cell[0] == "quantize"))
        for cell, case in CELLS.items()
        if isinstance(case, Case)
    ],
)
def test_what_is_left_out(cell, tmp_path):
    case = CELLS[cell]
    assert isinstance(case, Case)
    if cell[0] == "quantize":
        pytest.importorskip("nncf")
    if case.few is not None:
        case.few(tmp_path)
        check_counted(case, tmp_path, cell[1], force=False)
    many = tmp_path / "many"
    many.mkdir()
    case.many(many)
    if case.refuses:
        before = set(many.iterdir())
        with pytest.raises(InputError, match="--force") as refused:
            case.run(many, Silent(), False)
        assert refused.value.exit_code == 2
        assert not {path.name for path in set(many.iterdir()) - before} & {"out.tif", "out.gpkg", "out"}
    if case.few is None:
        check_counted(case, many, cell[1], force=case.refuses)
    else:
        assert cell[1] in [each["kind"] for each in case.run(many, Silent(), case.refuses)]


def check_counted(case, folder, kind, *, force):
    told = Saying()
    found = case.run(folder, told, force)
    # A class that is lost takes pixels with it, which are counted too.
    counts = [(each["count"], each["total"]) for each in found if each["kind"] == kind]
    assert counts == [case.counts]
    assert any(case.line in line for line in told.lines), told.lines


@pytest.fixture
def maps(tmp_path):
    """A class map, its confidence, and a second confidence that lacks a tenth."""
    values = patches(np.random.default_rng(0), (60, 50), 6, [1, 2, 7])
    sure = np.full(values.shape, 80, np.uint8)
    write(tmp_path / "map.tif", values, names=NAMES)
    write(tmp_path / "sure.tif", sure)
    sure[:6] = 255
    write(tmp_path / "gaps.tif", sure)
    sure[:6] = 80
    sure[0, :5] = 255
    write(tmp_path / "few.tif", sure)
    return tmp_path


def test_polygonize_gaps_in_confidence_count_beside_those_of_clean_up(maps):
    cleaned = {"smooth": 3, "overwrite": True}
    whole = geoseg.polygonize(maps / "map.tif", maps / "a.gpkg", confidence=maps / "sure.tif", **cleaned)
    assert whole.report["left_out"] == []
    with pytest.raises(InputError, match=r"gaps.tif: 300 of 3,000 pixels .*--force"):
        geoseg.polygonize(maps / "map.tif", maps / "a.gpkg", confidence=maps / "gaps.tif", **cleaned)


def test_evaluate_pixels_without_class_or_confidence(maps):
    labels = patches(np.random.default_rng(0), (60, 50), 6, [1, 2, 7])
    write(maps / "labels.tif", labels)
    labels[:, :10] = 255
    write(maps / "holes.tif", labels, names=NAMES)
    told = Saying()
    found = geoseg.evaluate(maps / "holes.tif", maps / "labels.tif", progress=told).report["left_out"]
    assert [(each["count"], each["total"]) for each in found] == [(600, 3000)]
    assert any("600 of 3,000 labelled pixels left out" in line for line in told.lines)
    with pytest.raises(InputError, match=r"gaps.tif: 300 of 3,000 compared pixels .*--force"):
        geoseg.evaluate(maps / "map.tif", maps / "labels.tif", confidence=maps / "gaps.tif")
    geoseg.evaluate(maps / "map.tif", maps / "labels.tif", confidence=maps / "gaps.tif", force=True)


def test_predict_dates_of_files(tmp_path, tiny_model):
    first = make_scene(tmp_path / "a.tif", (40, 40), holes=False)
    second = make_scene(tmp_path / "b.tif", (40, 40), holes=False)
    for path, day in ((first, "2021-07-05"), (second, "2021-07-09")):
        write_tag(path, day)
    told, asked = Saying(), {"model": tiny_model, "force": True, "bands": [1, 4]}
    found = geoseg.predict([first, second], tmp_path / "map.tif", progress=told, **asked).report["left_out"]
    assert [(each["kind"], each["count"]) for each in found] == [("dates", 2)]
    assert any("of 2021-07-05 and 2021-07-09" in line and "--date" in line for line in told.lines)
    dated = geoseg.predict([first, second], tmp_path / "b_map.tif", date="2021-07-05", **asked)
    assert dated.report["left_out"] == []


def write_tag(path, day):
    with rasterio.open(path, "r+") as file:
        file.update_tags(ACQUISITION_DATE=day)


def test_predict_a_date_that_is_none(scene, tiny_model, tmp_path):
    write_tag(scene, "5 July 21")
    told = Saying()
    result = geoseg.predict(scene, tmp_path / "map.tif", model=tiny_model, force=True, progress=told)
    assert [each["kind"] for each in result.report["left_out"]] == ["dates"]
    assert any('"5 July 21" is no date' in line and "--date" in line for line in told.lines)


@pytest.mark.parametrize("options", [{}, {"block_size": 64}, {"workers": 2}], ids=str)
def test_predict_pixels_that_lack_a_band(tmp_path, options):
    model = save_tiny(tmp_path / "tiny", invalid_where="any")
    scene = make_scene(tmp_path / "scene.tif", holes=False)
    with rasterio.open(scene, "r+") as file:
        values = file.read()
        values[:, 3, :7] = -9999  # nothing at all
        values[1, 60:70, 40:49] = -9999
        file.write(values)
    told = Saying()
    made = geoseg.predict(scene, tmp_path / "map.tif", model=model, force=True, progress=told, **options)
    assert [(each["kind"], each["count"], each["total"]) for each in made.report["left_out"]] == [
        ("pixels", 90, 150 * 130 - 7)
    ]
    assert made.report["pixels_valid"] == 150 * 130 - 97
    assert any("no value in some of the bands" in line for line in told.lines)


def test_255_that_a_map_does_not_declare(maps):
    """Of a mask it is the foreground: refused; beside classes it is said."""
    values = np.where(patches(np.random.default_rng(0), (60, 50), 6, [0, 1]) > 0, 255, 0).astype(np.uint8)
    write(maps / "mask.tif", values, nodata=None)
    with pytest.raises(InputError, match=r"mask.tif: .* pixels of the map left out .*255.*--force"):
        geoseg.polygonize(maps / "mask.tif", maps / "a.gpkg")
    values[0] = 7
    write(maps / "some.tif", values, nodata=None)
    told = Saying()
    found = geoseg.polygonize(maps / "some.tif", maps / "a.gpkg", progress=told).report["left_out"]
    assert [each["count"] for each in found] == [int((values == 255).sum())]
    assert any("some.tif" in line and "255" in line for line in told.lines)
    found = geoseg.evaluate(maps / "some.tif", maps / "map.tif").report["left_out"]
    assert found[0]["source"].endswith("some.tif")


def test_evaluate_label_polygons(maps):
    """Beyond the map: said. Without an area: refused."""
    inside, beyond = shapely.box(500100, 4999000, 500700, 4999800), shapely.box(0, 0, 9, 9)
    table = geopandas.GeoDataFrame({"class": [1, 2]}, geometry=[inside, beyond], crs=32614)
    table.to_file(maps / "a.gpkg")
    told = Saying()
    found = geoseg.evaluate(maps / "map.tif", maps / "a.gpkg", progress=told).report["left_out"]
    assert [(each["kind"], each["count"], each["total"]) for each in found] == [("rows", 1, 2)]
    table.geometry = [inside, beyond.centroid]
    table.to_file(maps / "b.gpkg")
    with pytest.raises(InputError, match=r"b.gpkg: 1 of 2 rows .*points 1.*--force"):
        geoseg.evaluate(maps / "map.tif", maps / "b.gpkg")
    assert geoseg.evaluate(maps / "map.tif", maps / "b.gpkg", force=True).report["left_out"]
