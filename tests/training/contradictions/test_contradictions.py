"""Places where a map contradicts labels: found, ranked and written as an independent computation says."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.features import rasterize
from rasterio.transform import Affine
from scipy import ndimage

from geoseg.classes import LandClass
from geoseg.errors import RunError, SceneError, SettingsError
from geoseg.labels.labels import open_labels
from geoseg.maps.class_map_file import open_class_map
from geoseg.progress import Silent
from geoseg.raster.pixel_sizes import measure_pixel_sizes
from geoseg.training.contradictions import contradictions, review_layer
from geoseg.training.contradictions.contradictions import open_each_value, write_contradictions
from geoseg.training.contradictions.review_layer import LAYER, VERDICTS
from geoseg.verbs.predict import predict
from tests.assess.maps import NAMES, PLACE, patches, write
from tests.conftest import SAMPLES

CLASSES = tuple(LandClass(ident, name, "#{:02x}{:02x}{:02x}".format(*rgb)) for ident, name, rgb in NAMES)


def make(folder, seed=0, shape=(90, 120), ids=(1, 2, 7), **profile):
    """Labels in patches, and a map that contradicts them in other patches and along borders."""
    rng = np.random.default_rng(seed)
    labels = patches(rng, shape, 11, ids)
    mapped = np.roll(labels, 1, axis=1)
    moved = patches(rng, shape, 9, [0, 0, 1]).astype(bool)
    mapped[moved] = patches(rng, shape, 9, ids)[moved]
    confidence = ndimage.uniform_filter(rng.integers(0, 101, shape).astype(np.float32), 5)
    confidence = ((confidence - confidence.min()) / np.ptp(confidence) * 100).astype(np.uint8)
    labels[rng.random(shape) < 0.02] = 255
    mapped[:6, :9] = 255
    confidence[mapped == 255] = 255
    confidence[50, 60] = 255
    write(folder / "map.tif", mapped, names=NAMES, **profile)
    write(folder / "conf.tif", confidence, **profile)
    write(folder / "labels.tif", labels, **profile)
    return labels, mapped, confidence


def find(folder, output="out.gpkg", **options):
    options = {"classes": CLASSES, "min_pixels": 4} | options
    return write_contradictions(
        folder / output,
        predicted=folder / "map.tif",
        confidence=folder / "conf.tif",
        labels=open_labels(folder / "labels.tif", folder / "map.tif"),
        **options,
    )


def by_hand(labels, mapped, confidence, border=1, least=4):
    """The same with scipy on whole arrays: {first pixel: everything about a place}."""
    known = (labels != 255) & (mapped != 255)
    agrees = known & (labels == mapped) & (confidence != 255)
    threshold = {c: confidence[agrees & (mapped == c)].mean() for c in np.unique(mapped[known]).tolist()}
    found = {}
    for label in np.unique(labels[known]).tolist():
        patch = ndimage.label(labels == label)[0]
        for shown, least_sure in threshold.items():
            if shown == label:
                continue
            here = known & (labels == label) & (mapped == shown)
            if border:
                here = ndimage.binary_opening(here, np.ones((2 * border + 1,) * 2, bool))
            named, count = ndimage.label(here)
            for number in range(1, count + 1):
                place = named == number
                sure = place & (confidence != 255) & (confidence >= least_sure)
                if place.sum() >= least and sure.sum() >= least:
                    row, col = np.argwhere(place)[0].tolist()
                    found[row, col] = {
                        "place": place,
                        "label_id": label,
                        "predicted_id": shown,
                        "confident_pixels": int(sure.sum()),
                        "confidence": confidence[place & (confidence != 255)].mean() / 100,
                        "score": confidence[sure].sum() / 100,
                        "patch_share": place.sum() / (patch == patch[row, col]).sum(),
                    }
    return found, threshold


@pytest.mark.parametrize(("seed", "border"), [(0, 1), (1, 1), (2, 0), (3, 2)])
def test_places_are_what_scipy_finds(tmp_path, seed, border):
    labels, mapped, confidence = make(tmp_path, seed)
    result = find(tmp_path, border=border)
    wanted, threshold = by_hand(labels, mapped, confidence, border)
    assert len(wanted) >= 3
    assert {(place.row, place.col) for place in result.places} == set(wanted)
    assert result.found == len(wanted)
    known = (labels != 255) & (mapped != 255)
    assert (result.compared, result.contradicted) == (known.sum(), (known & (labels != mapped)).sum())
    assert result.thresholds == pytest.approx({c: value / 100 for c, value in threshold.items()})
    table = geopandas.read_file(tmp_path / "out.gpkg", layer=LAYER)
    sizes = measure_pixel_sizes(PLACE["crs"], PLACE["transform"], labels.shape)
    areas = sizes.pixel_areas(0, 0, *labels.shape) * sizes.area_unit
    names = {item.id: item.name for item in CLASSES}
    assert len(table) == len(wanted)
    for (_, row), place in zip(table.iterrows(), result.places, strict=True):
        expected = wanted[place.row, place.col]
        drawn = rasterize([row.geometry], labels.shape, transform=PLACE["transform"]).astype(bool)
        assert (drawn == expected["place"]).all()
        assert row.pixel_count == drawn.sum()
        assert row.area_ha == pytest.approx(areas[drawn].sum(), rel=1e-9)
        assert (row.label_name, row.predicted_name) == (names[row.label_id], names[row.predicted_id])
        for column in ("label_id", "predicted_id", "confident_pixels", "confidence", "score", "patch_share"):
            assert row[column] == pytest.approx(expected[column]), column
    assert table["rank"].tolist() == list(range(1, len(wanted) + 1))
    assert (table.score.diff().dropna() <= 0).all()


def test_windows_change_nothing(tmp_path):
    make(tmp_path, 4)
    whole, cut = find(tmp_path), find(tmp_path, "cut.gpkg", window_size=17)
    assert whole.places == cut.places
    assert whole.thresholds == cut.thresholds


def test_progress_is_told_of_every_pixel_of_every_pass(tmp_path):
    labels, *_ = make(tmp_path, 4)
    steps = {}

    class Recorder(Silent):
        @contextmanager
        def stage(self, name, total, unit):
            steps[name] = (total, unit, done := [])
            yield SimpleNamespace(advance=done.append)

    find(tmp_path, window_size=17, progress=Recorder())
    assert list(steps) == ["comparing map and labels", "ranking contradictions"]
    for total, unit, done in steps.values():
        assert (total, unit) == (labels.size / 1e6, "Mpx")
        assert sum(done) == pytest.approx(total)
        assert len(done) > 40


def test_many_classes_need_several_passes(tmp_path, monkeypatch):
    """More pairs than uint8 tells apart; two pairs a pass find the same as all at once."""
    labels, mapped, confidence = make(tmp_path, 5)
    whole = find(tmp_path)
    monkeypatch.setattr(contradictions, "_CODES", 2)
    assert find(tmp_path).places == whole.places
    assert find(tmp_path, most=2).places == whole.places[:2]
    assert find(tmp_path, most=2).found == whole.found == len(by_hand(labels, mapped, confidence)[0])


def test_the_smallest_places_are_left_out(tmp_path):
    make(tmp_path, 6)
    every = find(tmp_path, min_pixels=1)
    some = find(tmp_path, min_pixels=20)
    kept = [place for place in every.places if place.pixels >= 20 and place.confident_pixels >= 20]
    assert 0 < len(some.places) < len(every.places)
    assert [place.geometry for place in some.places] == [place.geometry for place in kept]


def test_borders_alone_are_no_places(tmp_path):
    labels, _, confidence = make(tmp_path, 7)
    write(tmp_path / "map.tif", np.where(labels == 255, 255, np.roll(labels, 1, axis=0)), names=NAMES)
    assert find(tmp_path, border=0).places
    assert not find(tmp_path, border=1).places
    assert find(tmp_path, border=1).contradicted > 100
    del confidence
    empty = geopandas.read_file(tmp_path / "out.gpkg", layer=LAYER)
    assert len(empty) == 0
    assert {"rank", "score", "verdict"} <= set(empty.columns)


def test_an_opening_keeps_squares_and_nothing_thinner():
    codes = np.full((12, 12), 255, np.uint8)
    codes[1:5, 1:5] = 0
    codes[3, 5:12] = 0  # a tail one pixel wide
    codes[5:8, 1:4] = 9
    codes[9:11, 6:12] = 9  # two pixels high
    kept = open_each_value(codes, 1)
    wanted = np.full((12, 12), 255, np.uint8)
    wanted[1:5, 1:5] = 0
    wanted[5:8, 1:4] = 9
    assert (kept == wanted).all()
    assert (open_each_value(codes, 0) == codes).all()


def test_a_map_cut_from_the_labels_grid(tmp_path):
    """Labels on the scene's grid, a map of a part of it: the tag with its origin says which."""
    _, mapped, _ = make(tmp_path, 8)
    write(
        tmp_path / "conf.tif", np.where(mapped == 255, 255, 90).astype(np.uint8)
    )  # one threshold, wherever the map is cut
    whole = find(tmp_path)
    row, col = 12, 30
    for name in ("map", "conf"):
        with rasterio.open(tmp_path / f"{name}.tif") as source:
            values = source.read(1)[row:78, col:111]
        place = PLACE["transform"] * Affine.translation(col, row)
        path = write(
            tmp_path / f"{name}_cut.tif", values, names=NAMES if name == "map" else None, transform=place
        )
        with rasterio.open(path, "r+") as target:
            target.update_tags(GEOSEG_ORIGIN=f"{row},{col}")
    options = {
        "predicted": tmp_path / "map_cut.tif", "confidence": tmp_path / "conf_cut.tif", "classes": CLASSES,
        "min_pixels": 4,
    }  # fmt: skip
    labels = open_labels(tmp_path / "labels.tif", tmp_path / "map.tif")
    cut = write_contradictions(tmp_path / "cut.gpkg", labels=labels, **options)
    inside = shapely.box(*rasterio.transform.array_bounds(66, 81, place)).buffer(-0.1)
    wanted = {place.geometry.wkt for place in whole.places if inside.contains(place.geometry)}
    assert len(wanted) >= 3
    assert wanted <= {place.geometry.wkt for place in cut.places}
    small = open_labels(tmp_path / "labels.tif", tmp_path / "map_cut.tif")
    again = write_contradictions(tmp_path / "again.gpkg", labels=small, **options)
    assert [place.geometry for place in again.places] == [place.geometry for place in cut.places]
    with rasterio.open(tmp_path / "map_cut.tif", "r+") as target:
        target.update_tags(GEOSEG_ORIGIN="50,60")
    with pytest.raises(SceneError, match="give the map of the same scene"):
        write_contradictions(tmp_path / "cut.gpkg", labels=labels, **options)


def test_without_a_crs_places_lie_where_qgis_draws_the_map(tmp_path):
    make(tmp_path, 9, crs=None, transform=None)
    result = find(tmp_path)
    table = geopandas.read_file(tmp_path / "out.gpkg", layer=LAYER)
    assert table.area_ha.isna().all()
    assert table.crs is None or table.crs.name.startswith("Undefined")
    bounds = table.total_bounds
    assert bounds[0] >= 0
    assert bounds[2] <= 120
    assert bounds[1] >= -90
    assert bounds[3] <= 0
    assert table.geometry.area.round().tolist() == [place.pixels for place in result.places]


def test_qgis_finds_a_style_and_a_list_of_verdicts(tmp_path):
    make(tmp_path, 0)
    find(tmp_path, provenance={"GEOSEG_MODEL": "tiny", "run": "7"})
    with closing(sqlite3.connect(tmp_path / "out.gpkg")) as database:
        rows = database.execute(
            "SELECT f_table_name, f_geometry_column, styleQML FROM layer_styles WHERE useAsDefault"
        ).fetchall()
        geometry = database.execute("SELECT column_name FROM gpkg_geometry_columns").fetchall()
        metadata = database.execute("SELECT metadata FROM gpkg_metadata").fetchall()
    assert [(name, column) for name, column, _ in rows] == [(LAYER, geometry[0][0])]
    root = ET.fromstring(rows[0][2])
    assert root.find("renderer-v2") is not None
    assert root.find("labeling/settings/text-style").get("fieldName").count('"') == 6
    config = root.find("fieldConfiguration/field[@name='verdict']/editWidget/config")
    assert tuple(option.get("value") for option in config.iterfind(".//Option[@value]")) == VERDICTS
    assert "tiny" in str(metadata)


def test_tags_that_geoseg_wrote_are_kept(tmp_path):
    make(tmp_path, 0)
    with rasterio.open(tmp_path / "map.tif", "r+") as target:
        target.update_tags(GEOSEG_MODEL="dakota", OTHER="noise")
    find(tmp_path)
    with closing(sqlite3.connect(tmp_path / "out.gpkg")) as database:
        metadata = str(database.execute("SELECT metadata FROM gpkg_metadata").fetchall())
    assert "dakota" in metadata
    assert "noise" not in metadata


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    make(tmp_path, 0)
    (tmp_path / "out.gpkg").write_text("old")
    monkeypatch.setattr(review_layer, "write_styles", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(RunError, match="disk full"):
        find(tmp_path)
    assert (tmp_path / "out.gpkg").read_text() == "old"
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


@pytest.mark.parametrize("name", ["border", "min_pixels", "most"])
def test_numbers_that_are_too_small(tmp_path, name):
    make(tmp_path, 0)
    with pytest.raises(SettingsError, match=f"{name} must be at least"):
        find(tmp_path, **{name: -1})


def test_without_confidence_nothing_can_be_ranked(tmp_path):
    make(tmp_path, 0)
    with pytest.raises(SettingsError, match="confidence"):
        write_contradictions(
            tmp_path / "out.gpkg",
            predicted=tmp_path / "map.tif",
            labels=open_labels(tmp_path / "labels.tif", tmp_path / "map.tif"),
            classes=CLASSES,
        )


def test_a_class_that_no_label_confirms_takes_the_threshold_of_all(tmp_path):
    labels = np.full((40, 40), 1, np.uint8)
    mapped = labels.copy()
    mapped[5:15, 5:15] = 7
    confidence = np.full((40, 40), 80, np.uint8)
    confidence[5:15, 5:10] = 79
    for name, values in (("map", mapped), ("conf", confidence), ("labels", labels)):
        write(tmp_path / f"{name}.tif", values, names=NAMES if name == "map" else None)
    (place,) = find(tmp_path).places
    assert (place.pixels, place.confident_pixels, place.score) == (100, 50, pytest.approx(40))


# Planted errors: what the layer is for.


@pytest.fixture(scope="module")
def mapped_farmland(tmp_path_factory):
    """The sample scene, mapped by the bundled model, which has never seen it."""
    folder = tmp_path_factory.mktemp("farmland")
    predict(SAMPLES / "farmland.tif", folder / "map.tif", confidence=folder / "conf.tif", device="cpu")
    return folder


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_errors_fill_the_top_ranks(mapped_farmland, tmp_path, seed):
    """Fields whose label was swapped come first, but for what the network is most surely wrong about itself."""
    with rasterio.open(SAMPLES / "farmland_labels.tif") as source:
        truth, profile = source.read(1), source.profile
    fields = []
    for ident in (1, 2, 3, 6):
        named, count = ndimage.label(truth == ident)
        sizes = np.bincount(named.ravel(), minlength=count + 1)
        fields += [named == number for number in range(1, count + 1) if 150 < sizes[number] < 1500]
    labels, rng = truth.copy(), np.random.default_rng(seed)
    for number in rng.permutation(len(fields))[:10]:
        own = truth[fields[number]][0]
        labels[fields[number]] = rng.choice([ident for ident in (1, 2, 3, 8) if ident != own])
    with rasterio.open(tmp_path / "labels.tif", "w", **profile) as target:
        target.write(labels, 1)
    found = write_contradictions(
        tmp_path / "out.gpkg",
        predicted=mapped_farmland / "map.tif",
        confidence=mapped_farmland / "conf.tif",
        labels=open_labels(tmp_path / "labels.tif", mapped_farmland / "map.tif"),
        classes=open_class_map(mapped_farmland / "map.tif").legend,
        min_pixels=9,
    )
    planted = labels != truth
    drawn = [
        rasterize([place.geometry], truth.shape, transform=profile["transform"]).astype(bool)
        for place in found.places
    ]
    hits = [bool(planted[place].mean() > 0.5) for place in drawn]
    assert sum(hits[:6]) >= 5
    assert sum(hits[:10]) >= 8
    assert not all(hits)
