"""Refining in predict and in polygonize: rasters, polygons and report agree, whatever the blocks."""

from __future__ import annotations

import json

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from geopandas.testing import assert_geodataframe_equal

import geoseg
from geoseg.classes import LandClass
from geoseg.errors import SettingsError
from geoseg.maps.sidecar import class_table_xml
from geoseg.raster.pixel_sizes import measure_pixel_sizes
from geoseg.refine import step
from geoseg.refine.request import RefineOptions
from geoseg.refine.sieve import Sieve
from geoseg.refine.survey import PatchSize
from geoseg.verbs import polygonize as polygonize_module
from geoseg.verbs.polygonize import polygonize
from tests.refine import plain
from tests.refine.arrays import refine_array

STEPS = {
    "smooth": 3,
    "opening": "grass:3",
    "closing": "corn,7:3",
    "fill_holes": "0.3ha",
    "sieve": "0.5ha",
}
NAMES = [(1, "corn", (255, 211, 0)), (2, "soybeans", (38, 112, 0)), (7, "water", (75, 112, 163))]


def predict(scene, model, folder, **options):
    folder.mkdir()
    outputs = {
        "confidence": folder / "conf.tif",
        "probabilities": folder / "prob.tif",
        "polygons": folder / "fields.gpkg",
        "report": folder / "report.json",
    }
    return geoseg.predict(scene, folder / "map.tif", model=model, force=True, **(outputs | options))


def read(path):
    return geopandas.read_file(path, layer="polygons")


def pixels(path, band=1):
    with rasterio.open(path) as raster:
        return raster.read(band)


def tags(path):
    with rasterio.open(path) as raster:
        return raster.tags()


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_model):
    """The same scene predicted plainly and refined: (plain, refined, scene)."""
    from tests.conftest import make_scene

    folder = tmp_path_factory.mktemp("runs")
    scene = make_scene(folder / "scene.tif")
    plainly = predict(scene, tiny_model, folder / "plain")
    return plainly, predict(scene, tiny_model, folder / "refined", **STEPS), scene


class TestPredict:
    def test_the_map_is_the_plain_map_refined(self, runs, tiny_model, tmp_path):
        plainly, _, scene = runs
        sieved = predict(scene, tiny_model, tmp_path / "sieved", sieve="30px")
        with rasterio.open(plainly.outputs["probabilities"]) as raster:
            probabilities = raster.read()
        expected = refine_array(
            pixels(plainly.outputs["classes"]), [Sieve(PatchSize(30), (2, 5, 7))], probabilities
        )
        found = pixels(sieved.outputs["classes"])
        assert (found != pixels(plainly.outputs["classes"])).any()
        np.testing.assert_array_equal(found, expected)
        assert min(read(sieved.outputs["polygons"])["pixel_count"]) >= 30

    def test_confidence_is_the_probability_of_the_new_class(self, runs):
        plainly, refined, _ = runs
        before, after = (pixels(run.outputs["classes"]) for run in (plainly, refined))
        sure_before, sure_after = (pixels(run.outputs["confidence"]) for run in (plainly, refined))
        changed = before != after
        assert changed.any()
        np.testing.assert_array_equal(sure_after[~changed], sure_before[~changed])
        for band, value in enumerate((2, 5, 7), 1):
            now = changed & (after == value)
            stored = pixels(refined.outputs["probabilities"], band)[now].astype(float)
            np.testing.assert_array_equal(sure_after[now], np.floor(stored / 2.5 + 0.5))

    def test_probabilities_are_what_they_were(self, runs):
        plainly, refined, _ = runs
        assert plainly.outputs["probabilities"].read_bytes() == refined.outputs["probabilities"].read_bytes()

    def test_report_and_polygons_agree_with_the_map(self, runs):
        _, refined, _ = runs
        classes, sure = pixels(refined.outputs["classes"]), pixels(refined.outputs["confidence"])
        table = read(refined.outputs["polygons"])
        for row in json.loads(refined.outputs["report"].read_text())["classes"]:
            mine = classes == row["id"]
            polygons = table[table["class_id"] == row["id"]]
            assert row["pixels"] == mine.sum() == polygons["pixel_count"].sum()
            assert row["area_ha"] == pytest.approx(polygons["area_ha"].sum(), rel=1e-12)
            if mine.any():
                assert row["mean_confidence"] == pytest.approx(sure[mine].mean() / 100)
        assert refined.report["seconds"]["refine"] > 0

    @pytest.mark.parametrize("options", [{"block_size": 50}, {"concurrency": 1}])
    def test_blocks_and_strips_change_nothing(self, runs, tiny_model, tmp_path, monkeypatch, options):
        _, refined, scene = runs
        monkeypatch.setattr(step, "STRIP_PIXELS", 1000)
        other = predict(scene, tiny_model, tmp_path / "b", **STEPS, **options)
        for name in ("classes", "confidence", "probabilities"):
            assert other.outputs[name].read_bytes() == refined.outputs[name].read_bytes(), name
        assert_geodataframe_equal(read(other.outputs["polygons"]), read(refined.outputs["polygons"]))

    def test_only_the_map_is_written_when_only_it_is_wanted(self, runs, tiny_model, tmp_path):
        _, refined, scene = runs
        alone = geoseg.predict(scene, tmp_path / "map.tif", model=tiny_model, force=True, **STEPS)
        assert alone.outputs["classes"].read_bytes() == refined.outputs["classes"].read_bytes()
        assert {path.suffix for path in tmp_path.iterdir()} == {".tif", ".xml", ".qml"}

    def test_what_changed_the_answer_is_kept(self, runs):
        plainly, refined, _ = runs
        text = "smooth 3; open 5:3; close 2,7:3; fill holes 0.3ha; sieve 0.5ha; by probability"
        for name in ("classes", "confidence"):
            assert tags(refined.outputs[name])["GEOSEG_REFINE"] == text
            assert "GEOSEG_REFINE" not in tags(plainly.outputs[name])
        assert refined.report["settings"]["refine"] == {
            "smooth": 3,
            "opening": {"classes": [5], "size": 3},
            "closing": {"classes": [2, 7], "size": 3},
            "fill_holes": "0.3ha",
            "sieve": "0.5ha",
        }
        assert plainly.report["settings"]["refine"] is None
        assert refined.plan.disk_bytes > plainly.plan.disk_bytes

    def test_polygonize_does_the_same_to_the_plain_map(self, runs, tmp_path):
        plainly, refined, _ = runs
        result = polygonize(
            plainly.outputs["classes"],
            tmp_path / "fields.gpkg",
            confidence=plainly.outputs["confidence"],
            probabilities=plainly.outputs["probabilities"],
            refined=tmp_path / "map.tif",
            **STEPS,
        )
        assert_geodataframe_equal(read(result.output), read(refined.outputs["polygons"]))
        assert (tmp_path / "map.tif").read_bytes() == refined.outputs["classes"].read_bytes()
        assert (tmp_path / "map.qml").read_text() == refined.outputs["classes"].with_suffix(
            ".qml"
        ).read_text()

    def test_an_area_of_interest_has_right_areas(self, runs, tiny_model, tmp_path):
        from shapely.geometry import box

        aoi = tmp_path / "aoi.gpkg"
        geopandas.GeoDataFrame(geometry=[box(500303, 5199100, 500907, 5199747)], crs="EPSG:32614").to_file(
            aoi
        )
        part = predict(runs[2], tiny_model, tmp_path / "part", sieve="0.5ha", aoi=aoi)
        table = read(part.outputs["polygons"])
        assert table["area_ha"].min() >= 0.5
        assert sum(row["area_ha"] for row in part.report["classes"]) == pytest.approx(
            table["area_ha"].sum(), rel=1e-12
        )
        assert part.report["pixels_valid"] == table["pixel_count"].sum()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"sieve": "large"}, r"0\.5ha"),
            ({"smooth": 4}, "--smooth 4: the window must be an odd number"),
            ({"smooth": 1}, "--smooth 1"),
            ({"opening": "grass"}, r'--open "grass": write classes, a colon'),
            ({"opening": "grass:two"}, "--open two"),
            ({"closing": "grass:2"}, "--close 2"),
            ({"closing": ":3"}, "--close"),
            ({"opening": "maize:3"}, r"corn \(2\), grass \(5\), water \(7\)"),
            ({"opening": "3:3"}, 'no class "3" in tiny'),
        ],
    )
    def test_what_cannot_work_is_refused_at_once(self, runs, tiny_model, tmp_path, options, message):
        with pytest.raises(SettingsError, match=message):
            geoseg.predict(runs[2], tmp_path / "m.tif", model=tiny_model, force=True, dry_run=True, **options)

    def test_hectares_need_a_crs(self, tiny_model, tmp_path):
        from tests.conftest import make_scene

        scene = make_scene(tmp_path / "nowhere.tif", crs=None)
        options = {"model": tiny_model, "force": True, "dry_run": True}
        with pytest.raises(SettingsError, match=r"--sieve 0\.5ha.*20px"):
            geoseg.predict(scene, tmp_path / "m.tif", sieve="0.5ha", **options)
        geoseg.predict(scene, tmp_path / "m.tif", sieve="5px", **options)


@pytest.mark.parametrize("option", ["sieve", "fill_holes"])
@pytest.mark.parametrize(("amount", "least"), [(1000, 1000), (1000.25, 1001), (999.75, 1000)])
def test_patches_below_a_size_are_those_a_filter_would_leave_out(option, amount, least):
    pixel_sizes = measure_pixel_sizes("EPSG:32614", Affine(10, 0, 500_000, 0, -10, 5_200_000), (9, 9))
    refinement = RefineOptions(**{option: f"{amount * pixel_sizes.area_unit}ha"}).read((), "map")
    (step,) = refinement.steps(pixel_sizes, 9)
    assert step.size.least == least
    np.testing.assert_array_equal(step.size.areas(3, 2), pixel_sizes.pixel_areas(3, 0, 2, 9))


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"sieve": " 450 m2"}, "sieve 450m2"),
        ({"sieve": "3km²"}, "sieve 3km²"),
        ({"sieve": "1.2ha"}, "sieve 1.2ha"),
        ({"sieve": "12.5px"}, "sieve 12.5px"),
        ({"fill_holes": "2 ha"}, "fill holes 2ha"),
        ({"sieve": "0.12345678901ha"}, "sieve 0.12345678901ha"),
        ({"closing": "Corn, 2:5"}, "close 1,2:5"),
        ({"opening": "grass, hay and pasture,corn,9:3"}, "open 6,1,9:3"),
        ({"smooth": "7"}, "smooth 7"),
    ],
)
def test_steps_in_one_line(asked, text):
    legend = [LandClass(1, "corn", "#ffd300"), LandClass(6, "grass, hay and pasture", "#e8ffbf")]
    assert RefineOptions(**asked).read(legend, "map").text(by_probability=False) == text


@pytest.fixture
def class_map(tmp_path):
    """Someone's map: int16, nodata -1, a class (9) that has no name."""
    random = np.random.default_rng(3)
    classes = np.kron(random.choice([1, 2, 9], (4, 5)), np.ones((6, 7), int))
    classes[random.random(classes.shape) < 0.06] = 7
    classes[:5, :6] = -1
    path = tmp_path / "theirs.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        height=24,
        width=35,
        dtype="int16",
        nodata=-1,
        crs="EPSG:32614",
        transform=Affine(10, 0, 500_000, 0, -10, 5_200_000),
    ) as file:
        file.write(classes.astype(np.int16), 1)
        file.update_tags(GEOSEG_ORIGIN="100,200", ACQUISITION_DATE="2024-07-31", OTHER="not kept")
    (tmp_path / "theirs.tif.aux.xml").write_text(class_table_xml(NAMES))
    return path


class TestPolygonize:
    def test_the_refined_map_is_traced_and_written(self, class_map, tmp_path):
        result = polygonize(class_map, tmp_path / "out.gpkg", sieve="6px", refined=tmp_path / "sieved.tif")
        given = pixels(class_map)
        expected = plain.sieve(np.where(given < 0, 255, given).astype(np.uint8), 6)
        with rasterio.open(tmp_path / "sieved.tif") as raster, rasterio.open(class_map) as source:
            np.testing.assert_array_equal(raster.read(1), expected)
            assert (raster.dtypes, raster.nodata) == (("uint8",), 255)
            assert (raster.crs, raster.transform) == (source.crs, source.transform)
        assert {key: value for key, value in tags(tmp_path / "sieved.tif").items() if "OVR" not in key} == {
            "GEOSEG_ORIGIN": "100,200",
            "ACQUISITION_DATE": "2024-07-31",
            "AREA_OR_POINT": "Area",
            "GEOSEG_REFINE": "sieve 6px",
        }
        again = polygonize(tmp_path / "sieved.tif", tmp_path / "again.gpkg")
        assert_geodataframe_equal(read(again.output), read(result.output))
        assert set(read(result.output)["class_name"]) <= {"corn", "soybeans", "water", "class 9"}

    def test_a_map_refined_twice_says_so(self, class_map, tmp_path):
        polygonize(class_map, tmp_path / "a.gpkg", smooth=3, refined=tmp_path / "a.tif")
        polygonize(tmp_path / "a.tif", tmp_path / "b.gpkg", sieve="6px", refined=tmp_path / "b.tif")
        assert tags(tmp_path / "b.tif")["GEOSEG_REFINE"] == "smooth 3; then sieve 6px"

    def test_confidence_without_probabilities_is_unknown_where_the_class_is_new(self, class_map, tmp_path):
        sure = np.where(pixels(class_map) == 7, 20, 80).astype(np.uint8)
        with rasterio.open(class_map) as source:
            profile = source.profile | {"dtype": "uint8", "nodata": 255}
        with rasterio.open(tmp_path / "conf.tif", "w", **profile) as raster:
            raster.write(sure, 1)
        result = polygonize(class_map, tmp_path / "o.gpkg", confidence=tmp_path / "conf.tif", sieve="6px")
        table = read(result.output)
        assert set(table["confidence"]) == {0.8}
        assert (table["class_name"] != "water").all()

    def test_refined_needs_a_step(self, class_map, tmp_path):
        with pytest.raises(SettingsError, match="--refined"):
            polygonize(class_map, tmp_path / "o.gpkg", refined=tmp_path / "r.tif")

    def test_the_report_has_the_steps(self, class_map, tmp_path):
        report = polygonize(class_map, tmp_path / "o.gpkg", sieve="0.05ha", opening="9:3").report
        assert report["settings"]["refine"]["sieve"] == "0.05ha"
        assert report["settings"]["refine"]["opening"] == {"classes": [9], "size": 3}

    @pytest.mark.parametrize("fails", ["stage_json", "stage_polygons", "trace_class_map"])
    def test_a_failed_run_leaves_nothing(self, class_map, tmp_path, monkeypatch, fails):
        def fail(*_args, **_options):
            raise RuntimeError("no")

        monkeypatch.setattr(polygonize_module, fails, fail)
        before = sorted(tmp_path.iterdir())
        options = {"refined": tmp_path / "r.tif", "report": tmp_path / "r.json"}
        with pytest.raises(RuntimeError):
            polygonize(class_map, tmp_path / "o.gpkg", sieve="6px", **options)
        assert sorted(tmp_path.iterdir()) == before
