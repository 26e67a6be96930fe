"""``geoseg.evaluate`` as users meet it."""

from __future__ import annotations

import json

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import Affine

from geoseg.errors import InputError, OutputError, RunError, SceneError, SettingsError
from geoseg.grid import Window
from geoseg.labels.labels import open_labels
from geoseg.verbs.evaluate import evaluate
from geoseg.verbs.predict import predict
from tests.assess.maps import NAMES, PLACE, patches, random_pair, write
from tests.conftest import make_scene

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def test_a_map_against_labels(rasters):
    reports = [rasters / "out.json", rasters / "out.html"]
    result = evaluate(
        rasters / "map.tif", rasters / "labels.tif", confidence=rasters / "conf.tif", report=reports
    )
    assert result.outputs == {"json": reports[0], "html": reports[1]}
    written = json.loads(reports[0].read_text())
    assert written == json.loads(json.dumps(result.report))
    assert (written["report_version"], written["kind"]) == (1, "labels")
    labels, mapped, _ = random_pair(0, (200, 240))
    known = (labels != 255) & (mapped != 255)
    assert written["summary"]["accuracy"] == pytest.approx((labels == mapped)[known].mean())
    assert [row["tolerance"] for row in written["boundary"]] == ["1px", "3px"]
    assert written["boundary"][0]["f1"] < written["boundary"][1]["f1"]
    assert {"geoseg", "numpy"} <= set(written["versions"])
    text = result.text()
    assert f"mean IoU           {written['summary']['miou']:.3f}  (" in text
    assert all(row["name"] in text for row in written["classes"])
    assert len({len(line) for line in text.splitlines()[-4:]}) == 1  # columns line up


def test_only_memory_depends_on_the_window(rasters):
    found = [
        dict(evaluate(rasters / "map.tif", rasters / "labels.tif", window_size=size).report)
        for size in (None, 37)
    ]
    for report in found:
        for key in ("seconds", "peak_memory_bytes"):
            report.pop(key)
    assert found[0] == found[1]


def test_labels_as_polygons(rasters):
    """Boxes in another CRS, by name."""
    boxes = [shapely.box(500_000 + 30 * c, 5_000_000 - 30 * (r + 40), 500_000 + 30 * (c + 50), 5_000_000 - 30 * r)
             for r, c in ((0, 0), (60, 70), (120, 150))]  # fmt: skip
    frame = geopandas.GeoDataFrame(
        {"crop": ["corn", "SOYBEANS", "water"], "x": 1}, geometry=boxes, crs=PLACE["crs"]
    )
    frame.to_crs(4326).to_file(rasters / "fields.gpkg")
    result = evaluate(rasters / "map.tif", rasters / "fields.gpkg")
    _, mapped, _ = random_pair(0, (200, 240))
    expected = sum(
        np.count_nonzero(mapped[r : r + 40, c : c + 50] == value)
        for (r, c), value in zip(((0, 0), (60, 70), (120, 150)), (1, 2, 7), strict=True)
    )
    assert np.trace(result.report["confusion"]["pixels"]) == pytest.approx(expected, abs=10)
    assert result.report["labels"]["column"] == "crop"
    with pytest.raises(SettingsError, match="no column kind"):
        evaluate(rasters / "map.tif", rasters / "fields.gpkg", label_column="kind")


def test_only_an_area_of_interest(rasters, tiny_model):
    """Held-out blocks: for a map, and for a model that then maps only them."""
    block = shapely.box(500_000 + 30 * 31, 5_000_000 - 30 * 150, 500_000 + 30 * 203, 5_000_000 - 30 * 20)
    aoi = rasters / "blocks.gpkg"
    geopandas.GeoDataFrame(geometry=[block], crs=PLACE["crs"]).to_file(aoi)
    inside = np.full((200, 240), 255, np.uint8)
    labels, _, _ = random_pair(0, (200, 240))
    inside[20:150, 31:203] = labels[20:150, 31:203]
    write(rasters / "inside.tif", inside)
    expected = evaluate(rasters / "map.tif", rasters / "inside.tif").report
    found = evaluate(rasters / "map.tif", rasters / "labels.tif", aoi=aoi).report
    for key in ("summary", "classes", "confusion", "boundary", "areas", "pixels"):
        assert found[key] == expected[key]
    scene = make_scene(rasters / "scene.tif", (200, 240), transform=PLACE["transform"], nodata=None)
    classes = np.where(
        labels == 255, 255, np.choose(np.searchsorted([1, 2, 7], labels.clip(1, 7)), [2, 5, 7])
    )
    write(rasters / "truth.tif", classes.astype(np.uint8))
    predict(scene, rasters / "whole.tif", model=tiny_model, force=True)
    whole = evaluate(rasters / "whole.tif", rasters / "truth.tif", aoi=aoi).report
    cut = evaluate(tiny_model, rasters / "truth.tif", scene=scene, aoi=aoi, force=True, blocks="512px").report
    assert cut["confusion"] == whole["confusion"]
    assert cut["boundary"] == whole["boundary"]


def test_a_map_without_names_takes_them_from_the_labels(rasters):
    labels, mapped, _ = random_pair(0, (200, 240))
    write(rasters / "bare.tif", mapped)
    write(rasters / "named.tif", labels, names=NAMES)
    rows = evaluate(rasters / "bare.tif", rasters / "named.tif").report["classes"]
    assert [row["name"] for row in rows] == ["corn", "soybeans", "water"]
    rows = evaluate(rasters / "bare.tif", rasters / "labels.tif").report["classes"]
    assert [row["name"] for row in rows] == ["class 1", "class 2", "class 7"]


def test_names_that_differ_are_warned_of(rasters):
    labels, _, _ = random_pair(0, (200, 240))
    write(rasters / "named.tif", labels, names=[(1, "rice", (1, 1, 1)), *NAMES[1:]])
    warnings = evaluate(rasters / "map.tif", rasters / "named.tif").report["warnings"]
    assert any('"corn" in the map and "rice"' in text for text in warnings)


def test_a_map_without_coordinates(tmp_path):
    labels, mapped, _ = random_pair(1)
    bare = {"crs": None, "transform": None}
    write(tmp_path / "m.tif", mapped, names=NAMES, **bare)
    write(tmp_path / "l.tif", labels, **bare)
    report = evaluate(tmp_path / "m.tif", tmp_path / "l.tif").report
    assert report["areas"]["unit"] == "pixels"
    assert report["areas"]["classes"][0]["mapped"] == (mapped == 1).sum()
    with pytest.raises(SettingsError, match="no CRS"):
        evaluate(tmp_path / "m.tif", tmp_path / "l.tif", tolerances=["30m"])


def test_a_model_is_run_on_its_scene(tmp_path, tiny_model):
    """The same as predicting first; nothing is left behind."""
    scene = make_scene(tmp_path / "scene.tif")
    predict(scene, tmp_path / "map.tif", model=tiny_model, confidence=tmp_path / "conf.tif", force=True)
    with rasterio.open(scene) as file:
        place = {"crs": file.crs, "transform": file.transform}
    labels = patches(np.random.default_rng(0), (150, 130), 10, [2, 5, 7])
    write(tmp_path / "labels.tif", labels, **place)
    before = sorted(path.name for path in tmp_path.iterdir())
    direct = evaluate(tmp_path / "map.tif", tmp_path / "labels.tif", confidence=tmp_path / "conf.tif").report
    result = evaluate(
        tiny_model,
        tmp_path / "labels.tif",
        scene=scene,
        force=True,
        report=tmp_path / "out.html",
    )
    for key in ("summary", "classes", "confusion", "calibration", "boundary"):
        assert result.report[key] == direct[key]
    assert result.report["map"]["path"] == str(tiny_model)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "out.html"])


def test_nothing_is_replaced_unasked(rasters):
    (rasters / "out.html").write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        evaluate(rasters / "map.tif", rasters / "labels.tif", report=rasters / "out.html")
    assert (rasters / "out.html").read_text() == "mine"


def test_a_report_that_fails_leaves_nothing(rasters, monkeypatch):
    def fail(*_arguments):
        raise ZeroDivisionError

    monkeypatch.setattr("geoseg.assess.report.render_page", fail)

    def refuse(*_arguments):
        raise OSError("no space left on device")

    before = sorted(rasters.iterdir())
    with pytest.raises(ZeroDivisionError):
        evaluate(rasters / "map.tif", rasters / "labels.tif", report=[rasters / "o.json", rasters / "o.html"])
    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(RunError, match="no space left"):
        evaluate(rasters / "map.tif", rasters / "labels.tif", report=rasters / "o.json")
    assert sorted(rasters.iterdir()) == before


def test_label_values_that_are_no_class_are_named(rasters):
    labels, _, _ = random_pair(0, (200, 240))
    labels[50, 50] = 99
    write(rasters / "odd.tif", labels)
    with pytest.raises(SceneError, match="value 99, which is not a class"):
        evaluate(rasters / "map.tif", rasters / "odd.tif")


def test_a_scene_that_does_not_fit_leaves_the_picture_out(rasters):
    make_scene(rasters / "small.tif", (20, 20), transform=PLACE["transform"])
    make_scene(rasters / "moved.tif", (200, 240), transform=PLACE["transform"] * Affine.translation(1, 0))
    make_scene(rasters / "fits.tif", (200, 240), transform=PLACE["transform"])
    for name, fits in (("small", False), ("moved", False), ("fits", True), ("missing", False)):
        page = rasters / f"{name}.html"
        found = evaluate(
            rasters / "map.tif", rasters / "labels.tif", scene=rasters / f"{name}.tif", report=page
        )
        assert any("no image" in text for text in found.report["warnings"]) != fits
        assert ("<figcaption>Image" in page.read_text()) == fits
    with pytest.raises(InputError):
        evaluate(rasters / "map.tif")


@pytest.mark.realdata
def test_real_labels_against_themselves_shifted(real_data, tmp_path):
    """Real class patches: the labels are perfect against themselves, and worse the further they are moved."""
    labels = real_data / "dakota" / "classes.tif"
    window = Window(3000, 3000, 1024, 1024)
    values = open_labels(labels, labels).read(window)
    assert (values != 255).mean() > 0.1
    write(tmp_path / "truth.tif", values)
    found = []
    for shift in (0, 1, 3):
        write(tmp_path / f"m{shift}.tif", np.roll(values, shift, axis=1))
        found.append(evaluate(tmp_path / f"m{shift}.tif", tmp_path / "truth.tif").report)
    assert found[0]["summary"]["miou"] == found[0]["boundary"][0]["f1"] == 1.0
    scores = [report["summary"]["miou"] for report in found]
    edges = [report["boundary"][0]["f1"] for report in found]
    assert scores[0] > scores[1] > scores[2] > 0.3
    assert edges[0] > edges[1] > edges[2]
