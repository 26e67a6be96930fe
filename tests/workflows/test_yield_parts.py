"""The parts of the yield forecast: overlap, seasons, joins, cross-validation and intervals, checked by hand."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
from rasterio.transform import Affine
from shapely.geometry import Point, box

sys.path.insert(0, str(Path(__file__).parents[2] / "workflows"))

from yields.intervals import cv_plus, error_parts, half_width, held_out_half_widths
from yields.known import blocks_of, districts_of, known_yields
from yields.matching import follow
from yields.pipeline import Job, raise_without_crops
from yields.regression import Training, candidates, cross_validate, fold_numbers, held_out_forecasts, scores
from yields.seasons import field_means, season
from yields.tables import DateMap

import geoseg
from geoseg.errors import InputError

CRS = "EPSG:32614"
NAMES = {1: "corn", 2: "soybeans"}


def one_map(day, *rows):
    """A map of (id, class, confidence, box)."""
    table = {
        "id": [row[0] for row in rows],
        "class_id": [row[1] for row in rows],
        "class_name": [NAMES[row[1]] for row in rows],
        "confidence": [row[2] for row in rows],
        "area_ha": [row[3].area / 1e4 for row in rows],
    }
    return DateMap(
        date(2024, 6, day), geopandas.GeoDataFrame(table, geometry=[row[3] for row in rows], crs=CRS)
    )


class TestMapsOfLandCover:
    """Worldwide models know cropland and no crops."""

    field = one_map(1, ("a", 1, 0.5, box(0, 0, 60, 100)))
    world = DateMap(field.date, field.polygons.assign(class_name="cropland"))

    def test_are_refused_in_one_line(self):
        with pytest.raises(
            InputError, match=r"not one crop from another.*--model dakota-crops.*--classes crop"
        ):
            raise_without_crops([self.world], Job([], []))

    def test_are_one_crop_if_asked_for(self):
        raise_without_crops([self.world], Job([], [], classes=("cropland",)))
        raise_without_crops([self.field], Job([], []))


class TestFollowing:
    first = one_map(1, ("a", 2, 0.5, box(0, 0, 60, 100)), ("b", 1, 0.5, box(60, 0, 100, 100)))
    second = one_map(20, ("c", 1, 0.9, box(0, 0, 100, 100)), ("d", 2, None, box(200, 0, 300, 100)))

    @pytest.fixture
    def fields(self):
        return follow([self.first, self.second], self.second).set_index("id")

    def test_the_class_with_most_share_and_confidence_wins(self, fields):
        field = fields.loc["c"]  # corn 1 x 0.9 + 0.4 x 0.5, soybeans 0.6 x 0.5
        assert (field["class_id"], field["class_name"]) == (1, "corn")
        assert field["confidence"] == pytest.approx((0.9 + 0.4 * 0.5) / 2)
        assert field["agreement"] == pytest.approx((1 + 0.4) / 2)
        assert field["seen"] == pytest.approx(1)

    def test_the_match_is_what_covers_most(self, fields):
        assert list(fields.loc["c", ["polygon_20240601", "polygon_20240620"]]) == ["a", "c"]
        assert fields.loc["c", "dates_matched"] == 2

    def test_what_covers_too_little_is_no_match_but_still_votes(self):
        field = follow([self.first, self.second], self.second, least_share=0.61).set_index("id").loc["c"]
        assert field["polygon_20240601"] is None or pd.isna(field["polygon_20240601"])
        assert (field["dates_matched"], field["agreement"]) == (1, pytest.approx(0.7))

    def test_where_a_map_shows_nothing_it_says_nothing(self, fields):
        field = fields.loc["d"]
        assert (field["class_name"], field["agreement"], field["confidence"]) == ("soybeans", 1, 1)
        assert (field["seen"], field["dates_matched"]) == (0.5, 1)

    def test_an_early_map_can_be_outvoted_and_outvote(self):
        sure = one_map(1, ("a", 2, 0.99, box(0, 0, 100, 100)))
        unsure = one_map(9, ("b", 1, 0.4, box(0, 0, 100, 100)))
        assert list(follow([sure, unsure], unsure)["class_id"]) == [2]
        assert list(follow([sure, unsure], unsure)["agreement"]) == [0.5]


class TestSeasons:
    days = (date(2024, 6, 1), date(2024, 6, 11), date(2024, 7, 1))

    def test_by_hand(self):
        found = season(self.days, np.array([[0.2, 0.6, 0.4]]), np.array([[0.1, 0.2, 0.3]])).iloc[0]
        assert found["integral"] == pytest.approx(0.4 * 10 + 0.5 * 20)
        assert found["mean"] == pytest.approx(14 / 30)
        assert (found["max"], found["peak_day"], found["peak_date"]) == (0.6, 10, date(2024, 6, 11))
        assert (found["std"], found["dates"]) == (pytest.approx(0.2), 3)

    def test_gaps_are_bridged_and_ends_kept(self):
        means = np.array([[0.2, np.nan, 0.5], [np.nan, 0.6, 0.4], [np.nan, np.nan, 0.4]])
        found = season(self.days, means, np.where(np.isnan(means), np.nan, 0.1))
        assert found["integral"][0] == pytest.approx(0.35 * 30)
        assert found["integral"][1] == pytest.approx(0.6 * 10 + 0.5 * 20)
        assert found["std"][0] == pytest.approx(0.1)
        assert list(found["dates"]) == [2, 2, 1]
        assert found.drop(columns="dates").iloc[2].isna().all()

    @pytest.fixture
    def scene(self, tmp_path):
        """Four columns of pixels of 10 m with NDVI 0.2, 0.4, 0.6 and nothing."""
        nir = np.array([[1.2, 1.4, 1.6, -1.0]] * 4) / 2
        red = np.array([[0.8, 0.6, 0.4, -1.0]] * 4) / 2
        self.write(tmp_path / "scene.tif", np.stack([red, nir]).astype("float32"), -0.5, ("red", "nir"))
        return geoseg.open_scene(tmp_path / "scene.tif")

    def write(self, path, bands, nodata, names):
        shape = {"count": len(bands), "height": 4, "width": 4, "dtype": bands.dtype.name, "nodata": nodata}
        with rasterio.open(
            path, "w", driver="GTiff", crs=CRS, transform=Affine(10, 0, 0, 0, -10, 40), **shape
        ) as raster:
            raster.write(bands)
            raster.descriptions = names

    def means(self, scene, *boxes, **options):
        fields = geopandas.GeoDataFrame(geometry=list(boxes), crs=CRS)
        return field_means(fields, scene, ["ndvi"], **options)["ndvi_mean"].tolist()

    def test_pixels_count_by_the_share_inside(self, scene):
        assert self.means(scene, box(5, 0, 20, 40)) == [pytest.approx((0.2 * 0.5 + 0.4) / 1.5, abs=1e-6)]

    def test_nodata_is_left_out_until_too_little_is_seen(self, scene):
        found = self.means(scene, box(20, 5, 40, 25), box(24, 5, 40, 25), box(900, 0, 990, 50))
        assert found[0] == pytest.approx(0.6, abs=1e-6)
        assert np.isnan(found[1:]).all()

    def test_fields_in_another_crs_are_brought_to_the_scene(self, scene):
        fields = geopandas.GeoDataFrame(geometry=[box(0, 0, 20, 40)], crs=CRS).to_crs("EPSG:3857")
        assert field_means(fields, scene, ["ndvi"])["ndvi_mean"][0] == pytest.approx(0.3, abs=1e-4)

    def test_sure_pixels_count_more(self, scene, tmp_path):
        confidence = np.array([[[90, 30, 60, 255]] * 4], np.uint8)
        self.write(tmp_path / "sure.tif", confidence, 255, ("confidence",))
        found = self.means(scene, box(0, 0, 30, 40), confidence=tmp_path / "sure.tif")
        assert found == [pytest.approx((0.2 * 90 + 0.4 * 30 + 0.6 * 60) / 180, abs=1e-6)]


class TestKnown:
    fields = geopandas.GeoDataFrame(
        {"id": ["r0c0", "r0c9", "r9c0"]},
        geometry=[box(0, 0, 10, 10), box(10, 0, 20, 10), box(0, 20, 10, 30)],
        crs=CRS,
    )

    def test_a_csv_is_joined_by_id(self, tmp_path):
        (tmp_path / "y.csv").write_text("id,t\nr0c9,7.5\nr5c5,1\nr9c0,\n")
        found, lost = known_yields(self.fields, tmp_path / "y.csv", "t")
        assert found.tolist()[1] == 7.5
        assert found.isna().tolist() == [True, False, True]
        assert lost == 1

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("id,t\na,1\na,2\n", "the field a more than one yield"),
            ("id,t\na,much\n", "yield of a is no number"),
        ],
    )
    def test_a_csv_that_contradicts_itself_is_refused(self, tmp_path, text, message):
        (tmp_path / "y.csv").write_text(text)
        with pytest.raises(InputError, match=message):
            known_yields(self.fields, tmp_path / "y.csv", "t")

    def test_points_are_averaged_in_their_field(self, tmp_path):
        points = [Point(2, 2), Point(8, 8), Point(15, 5), Point(50, 50)]
        frame = geopandas.GeoDataFrame({"t": [1.0, 3.0, 5.0, 9.0]}, geometry=points, crs=CRS)
        frame.to_crs("EPSG:4326").to_file(tmp_path / "y.gpkg")
        found, lost = known_yields(self.fields, tmp_path / "y.gpkg", "t")
        assert found.tolist()[:2] == [2, 5]
        assert np.isnan(found[2])
        assert lost == 1

    def test_polygons_are_averaged_by_shared_area(self, tmp_path):
        shapes = [box(0, 0, 4, 10), box(4, 0, 8, 10), box(16, 0, 20, 10)]
        geopandas.GeoDataFrame({"t": [1.0, 2.0, 8.0]}, geometry=shapes, crs=CRS).to_file(tmp_path / "y.gpkg")
        found, lost = known_yields(self.fields, tmp_path / "y.gpkg", "t")
        assert found[0] == pytest.approx(1.5)
        assert found.isna().tolist() == [False, True, True]
        assert lost == 1

    def test_districts_hold_a_point_of_the_field(self, tmp_path):
        shapes = [box(-1, -1, 16, 15), box(16, -1, 30, 15)]
        geopandas.GeoDataFrame({"n": ["west", "east"]}, geometry=shapes, crs=CRS).to_file(tmp_path / "d.gpkg")
        names, outlines = districts_of(self.fields, tmp_path / "d.gpkg", "n")
        assert names.tolist()[:2] == ["west", "west"]
        assert pd.isna(names[2])
        assert sorted(outlines.index) == ["east", "west"]

    def test_blocks_are_squares_of_ground_in_any_crs(self):
        here = self.fields.set_geometry(self.fields.translate(500_000, 5_200_000))
        for fields in (here, here.to_crs("EPSG:4326")):
            names, _ = blocks_of(fields, 0.012)
            assert names.tolist() == ["block 2 0", "block 2 1", "block 0 0"]


def training(seed=0, groups=12, each=15, shared=0.3):
    random = np.random.default_rng(seed)
    count = groups * each
    place = np.repeat(np.arange(groups), each)
    columns = ["ndvi_integral", "ndvi_max", "ndmi_mean"]
    features = pd.DataFrame(random.normal(0, 1, (count, 3)), columns=columns)
    errors = random.normal(0, shared, groups)[place] + random.normal(0, 0.3, count)
    yields = 5 + 2 * features["ndvi_integral"] - features["ndmi_mean"] + errors
    names = np.array([f"d{number}" for number in place], object)
    return Training(features, yields.to_numpy(), np.ones(count), names)


class TestCrossValidation:
    def held_out(self, name, data):
        models = {name: candidates(list(data.features.columns))[name]}
        return held_out_forecasts(models, data, fold_numbers(data.groups))[0][name]

    def test_a_district_is_held_out_as_a_whole(self):
        data = training()
        folds = fold_numbers(data.groups)
        assert sorted(set(folds)) == [0, 1, 2, 3, 4]
        assert pd.DataFrame({"g": data.groups, "f": folds}).groupby("g")["f"].nunique().max() == 1

    def test_held_out_forecasts_know_nothing_of_their_fold(self):
        data = training()
        folds = fold_numbers(data.groups)
        changed = data.yields.copy()
        changed[folds == 1] = 1000 - 50 * changed[folds == 1]
        before, after = (
            cross_validate(Training(data.features, y, data.weights, data.groups))
            for y in (data.yields, changed)
        )
        for name in ("linear", "ridge", "trees", "auto"):
            kept = before.held_out[name][folds == 1], after.held_out[name][folds == 1]
            np.testing.assert_allclose(*kept)
            assert not np.allclose(before.held_out[name][folds == 2], after.held_out[name][folds == 2])

    def test_the_best_model_is_found_and_noise_is_not_forecast(self):
        data = training()
        found = cross_validate(data)
        assert found.name == "ridge"
        assert found.scores["auto"]["r2"] > 0.9
        shuffled = np.random.default_rng(1).permutation(data.yields)
        noise = cross_validate(Training(data.features, shuffled, data.weights, data.groups))
        assert noise.scores["auto"]["r2"] < 0.1

    def test_what_districts_share_does_not_help_where_nothing_is_known(self):
        """A feature that only tells districts apart looks useful as soon as neighbours are not held out."""
        data = training(shared=3.0)
        place = pd.Series(data.groups).str[1:].astype(float).to_numpy()
        features = data.features.assign(ndvi_integral=place, ndmi_mean=0.0)
        found = self.held_out("trees", Training(features, data.yields, data.weights, data.groups))
        assert scores(data.yields, found)["r2"] < 0.3

    def test_unsure_fields_count_less(self):
        data = training()
        wrong = data.yields.copy()
        wrong[::2] += 100
        for weights, near in ((np.where(np.arange(len(wrong)) % 2, 1.0, 1e-6), 5), (data.weights, 55)):
            found = self.held_out("ridge", Training(data.features, wrong, weights, data.groups))
            assert found.mean() == pytest.approx(near, abs=3)


class TestIntervals:
    def test_about_the_level_of_new_fields_is_inside(self):
        random = np.random.default_rng(5)
        covered = []
        for _ in range(40):
            errors, new = random.standard_t(4, 150), random.standard_t(4, 200)
            forecasts = np.zeros((200, 5))
            low, high = cv_plus(forecasts, np.arange(150) % 5, errors, 0.9)
            covered.append(((low <= new) & (new <= high)).mean())
        assert 0.88 < np.mean(covered) < 0.93

    def test_by_hand(self):
        low, high = cv_plus(np.array([[10.0, 20.0]]), np.array([0, 0, 1, 1]), np.array([1.0, -2, 3, -4]), 0.6)
        # forecast - |error|: 9, 8, 17, 16 -> 2nd of 4; forecast + |error|: 11, 12, 23, 24 -> 3rd of 4
        assert (low.tolist(), high.tolist()) == ([9.0], [23.0])

    def test_too_few_for_the_level_is_unbounded(self):
        low, high = cv_plus(np.zeros((1, 2)), np.array([0, 0, 1, 1]), np.ones(4), 0.9)
        assert (low[0], high[0]) == (-np.inf, np.inf)
        assert half_width(np.ones(8), 0.9) == np.inf
        assert half_width(np.arange(9.0), 0.9) == 8

    def test_held_out_widths_come_from_other_folds(self):
        errors = np.r_[np.full(20, 1.0), np.full(20, 5.0)]
        widths = held_out_half_widths(errors, np.repeat([0, 1], 20), 0.9)
        assert widths[:20].tolist() == [5.0] * 20
        assert widths[20:].tolist() == [1.0] * 20

    def test_parts_of_the_error_are_found(self):
        random = np.random.default_rng(2)
        sizes = random.integers(2, 30, 400)
        groups = np.repeat(np.arange(400), sizes)
        errors = random.normal(0, 0.5, 400)[groups] + random.normal(0, 1.2, len(groups))
        parts = error_parts(errors, groups.astype(object))
        assert (parts.district, parts.field) == (pytest.approx(0.5, abs=0.07), pytest.approx(1.2, abs=0.05))
        assert error_parts(random.normal(0, 1, 300), (np.arange(300) % 10).astype(object)).district < 0.2

    @pytest.mark.parametrize(("shared", "own"), [(0.5, 1.0), (1.0, 0.3), (0.0, 1.0)])
    def test_district_intervals_hold(self, shared, own):
        random = np.random.default_rng(8)
        groups = np.repeat(np.arange(10), 12).astype(object)
        share = random.dirichlet(np.ones(25))
        covered = []
        for _ in range(400):
            errors = np.repeat(random.normal(0, shared, 10), 12) + random.normal(0, own, 120)
            width = error_parts(errors, groups).half_width(share, 0.9)
            covered.append(abs(random.normal(0, shared) + share @ random.normal(0, own, 25)) <= width)
        assert 0.85 < np.mean(covered) <= 0.97

    def test_the_larger_the_known_part_the_smaller_the_interval(self):
        parts = error_parts(training().yields, training().groups)
        assert parts.half_width(np.full(4, 0.1), 0.9) < parts.half_width(np.full(10, 0.1), 0.9)
