"""The yield forecast from end to end, on a generated season whose yield function is known."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio

WORKFLOWS = Path(__file__).parents[2] / "workflows"
sys.path.insert(0, str(WORKFLOWS))

import yield_forecast  # noqa: E402
from yields.demo import MAP_DAYS, SCENE_DAYS, make_world, write_demo  # noqa: E402

SHARED, OWN = 0.25, 0.35  # standard deviations of the errors that the generated yields hold, t/ha of corn


@pytest.fixture(scope="module")
def world():
    return make_world(side=16, seed=3, shared=SHARED, own=OWN)


@pytest.fixture(scope="module")
def files(world, tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("season"), world, known=0.6, seed=1)


def words(files, folder, *more, yields=True):
    """The command line for a season."""
    scenes = [f"{day}={path}" for day, path in zip(SCENE_DAYS, files["scenes"], strict=True)]
    line = ["--polygons", *map(str, files["polygons"]), "--scenes", *scenes, "-o", str(folder)]
    if yields:
        line += ["--yields", str(files["yields"]), "--districts", str(files["districts"])]
    return [*line, *more]


@pytest.fixture(scope="module")
def forecast(files, tmp_path_factory):
    """The folder that the command leaves."""
    folder = tmp_path_factory.mktemp("forecast")
    assert yield_forecast.main(words(files, folder, "--confidence", str(files["confidence"]))) == 0
    return folder


@pytest.fixture(scope="module")
def fields(forecast, world):
    """The table of fields, with what is true of each."""
    found = geopandas.read_parquet(forecast / "fields.parquet")
    points = found[["geometry"]].set_geometry(found.representative_point())
    truth = geopandas.sjoin(points, world.fields, predicate="within").sort_index()
    assert len(truth) == len(found)
    truth = truth.drop(columns=["geometry", "index_right"])
    return found.join(truth.rename(columns={name: f"{name}_true" for name in ("class_id", "district")}))


@pytest.fixture(scope="module")
def crops(forecast):
    return json.loads((forecast / "report.json").read_text())["crops"]


def test_the_yield_function_is_recovered(crops):
    corn = crops["corn"]["scores"]
    noise = np.hypot(SHARED, OWN)
    assert corn["auto"]["rmse"] < 2 * noise
    assert corn["auto"]["r2"] > 0.85
    assert abs(corn["auto"]["bias"]) < 0.2
    assert corn["auto"]["mae"] < corn["auto"]["rmse"]
    assert corn["auto"]["rmse"] < 0.8 * corn["linear"]["rmse"]
    assert corn["linear"]["rmse"] < 0.7 * corn["mean"]["rmse"]
    assert crops["soybeans"]["scores"]["auto"]["r2"] > 0.6
    assert set(crops.get("grass", {})) <= {"no_forecast"}  # a field or two that maps take for grass


def test_fields_without_a_known_yield_are_forecast_as_well(fields):
    unknown = fields[fields["yield_known"].isna() & fields["class_name"].isin(["corn", "soybeans"])]
    assert len(unknown) > 50
    corn = unknown[unknown["class_name"] == "corn"]
    assert np.sqrt(((corn["yield_forecast"] - corn["yield"]) ** 2).mean()) < 2 * np.hypot(SHARED, OWN)
    inside = unknown["yield"].between(unknown["yield_low"], unknown["yield_high"])
    assert 0.8 <= inside.mean() <= 1
    width = (corn["yield_high"] - corn["yield_low"]).mean()
    assert width < 0.5 * (corn["yield"].max() - corn["yield"].min())
    assert fields.loc[fields["class_name"] == "grass", "yield_forecast"].isna().all()


def test_intervals_hold_on_held_out_districts(fields, crops):
    held_out = fields[fields["held_out"]]
    assert held_out["yield_known"].notna().all()
    inside = held_out["yield_known"].between(held_out["yield_low"], held_out["yield_high"])
    assert 0.82 <= inside.mean() <= 0.98
    for name, part in held_out.groupby("class_name"):
        stated = crops[name]["interval_coverage_on_held_out_districts"]
        assert inside[part.index].mean() == pytest.approx(stated)


def test_districts_are_the_area_weighted_mean_of_their_fields(fields, forecast):
    table = geopandas.read_parquet(forecast / "districts.parquet")
    assert set(table["class_name"]) == {"corn", "soybeans"}
    assert len(table) == 32
    for row in table.itertuples():
        inside = fields[(fields["district"] == row.district) & (fields["class_name"] == row.class_name)]
        told = inside["yield_known"].fillna(inside["yield_forecast"])
        assert row.yield_forecast == pytest.approx(np.average(told, weights=inside["area_ha"]))
        assert row.production_forecast == pytest.approx(row.yield_forecast * inside["area_ha"].sum())
        assert (row.fields, row.fields_known) == (len(inside), inside["yield_known"].notna().sum())
    truth = fields.groupby(["district", "class_name"])["yield"].mean()
    true = np.array([truth[row.district, row.class_name] for row in table.itertuples()])
    assert ((table["yield_low"] <= true) & (true <= table["yield_high"])).mean() >= 0.8
    corn = table[table["class_name"] == "corn"]
    assert (corn["yield_high"] - corn["yield_low"]).mean() < 1.5


def test_indices_are_those_of_the_scenes(fields):
    for day in SCENE_DAYS:
        since = day.timetuple().tm_yday - fields["peak"]
        expected = 0.15 + 0.7 * fields["vigour"] * np.exp(-((since / 45) ** 2))
        found = fields[f"ndvi_{day:%Y%m%d}"]
        assert (found - expected).abs().max() < 0.01
        assert found.isna().any() == (day == SCENE_DAYS[2])  # the cloud
    assert fields["ndvi_dates"].min() == len(SCENE_DAYS) - 1
    assert (fields["ndvi_std"] < 0.05).all()
    assert fields["ndvi_peak_date"].notna().all()


def test_fields_are_followed_though_their_ids_change(fields):
    days = [f"polygon_{day:%Y%m%d}" for day in MAP_DAYS]
    assert (fields["dates_matched"] == 3).all()
    changed = (fields[days[0]] != fields["id"]).mean()
    assert 0.3 < changed < 0.7
    assert (fields[days[-1]] == fields["id"]).all()


def test_dates_vote_on_the_class(files, fields):
    first = geopandas.read_file(files["polygons"][0], layer="polygons").set_index("id")
    said = first.loc[fields[f"polygon_{min(MAP_DAYS):%Y%m%d}"], "class_id"].to_numpy()
    right = (fields["class_id"] == fields["class_id_true"]).to_numpy()
    assert (said == fields["class_id_true"]).mean() < 0.95
    assert right.mean() > 0.99
    disagree = said != fields["class_id"].to_numpy()
    assert (fields["agreement"][disagree] < 0.7).all()
    assert (fields["agreement"] > 0.999).mean() > 0.6
    assert fields["confidence"][~disagree].mean() == pytest.approx(0.75, abs=0.03)


def test_outputs_are_whole_and_alone(forecast, fields):
    assert sorted(path.name for path in forecast.iterdir()) == sorted(yield_forecast.OUTPUTS)
    geo = json.loads(pq.read_schema(forecast / "fields.parquet").metadata[b"geo"])
    assert "covering" in geo["columns"]["geometry"]
    assert fields.crs == "EPSG:32614"
    with rasterio.open(forecast / "forecast.png") as picture:
        pixels = picture.read()
    assert min(pixels.shape[1:]) > 300
    assert len(np.unique(pixels.reshape(len(pixels), -1), axis=1).T) > 200


def test_without_yields_the_features_alone(files, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "districts.parquet").write_text("of an older run")
    assert yield_forecast.main(words(files, out, "--classes", "corn", "--min-area", "0.9", yields=False)) == 0
    assert sorted(path.name for path in out.iterdir()) == ["fields.parquet", "forecast.png", "report.json"]
    table = geopandas.read_parquet(out / "fields.parquet")
    assert set(table["class_name"]) == {"corn"}
    assert "yield_forecast" not in table
    assert table["ndvi_integral"].notna().all()


def test_too_few_known_yields_are_said_and_not_forecast(files, fields, tmp_path):
    known = fields[fields["yield_known"].notna() & (fields["class_name"] == "corn")].head(19)
    known[["id", "yield"]].to_csv(tmp_path / "few.csv", index=False)
    line = words(files, tmp_path / "out", "--yields", str(tmp_path / "few.csv"))
    assert yield_forecast.main(line) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["yields_known"] == 19
    assert report["crops"]["corn"]["no_forecast"].startswith("known yields of 19 fields")
    table = geopandas.read_parquet(tmp_path / "out" / "fields.parquet")
    assert table["yield_forecast"].isna().all()
    assert not table["held_out"].any()


def rewrite(path, to, **metadata):
    """A GeoParquet copy of a table with other metadata."""
    table = geopandas.read_file(path, layer="polygons")
    table["date"] = pd.to_datetime(table["date"]).dt.date
    table.to_parquet(to)
    stored = pq.read_table(to)
    pq.write_table(stored.replace_schema_metadata(stored.schema.metadata | metadata), to)
    return to


def refusal(capsys, line):
    assert yield_forecast.main(line) == 2
    (said,) = (text for text in capsys.readouterr().err.splitlines() if "error" in text)
    return said


def test_another_major_version_of_the_table_is_refused(files, tmp_path, capsys):
    old = rewrite(files["polygons"][0], tmp_path / "old.parquet", GEOSEG_POLYGONS_SCHEMA="2")
    said = refusal(capsys, words(files | {"polygons": [old]}, tmp_path / "out"))
    assert "old.parquet: a polygon table of version 2, and this reads version 1" in said
    assert not (tmp_path / "out").exists()


def test_a_newer_minor_version_is_read_with_its_columns_ignored(files, tmp_path):
    new = rewrite(files["polygons"][2], tmp_path / "new.parquet", GEOSEG_POLYGONS_SCHEMA="1.3")
    stored = pq.read_table(new)
    more = stored.append_column("mean_slope", pa.array(np.zeros(len(stored)))).replace_schema_metadata(
        stored.schema.metadata
    )
    pq.write_table(more, new)
    line = words(files | {"polygons": [new]}, tmp_path / "out", yields=False)
    assert yield_forecast.main(line) == 0
    assert "mean_slope" not in geopandas.read_parquet(tmp_path / "out" / "fields.parquet")


@pytest.mark.parametrize(
    ("change", "words_"),
    [
        (["--polygons", "no.gpkg"], "no.gpkg cannot be read as polygons of geoseg"),
        (["--classes", "rice"], "no field is rice; the classes are corn, grass, soybeans"),
        (["--reference", "2020-01-01"], "no map of 2020-01-01; there are maps of 2024-06-14"),
        (["--min-area", "90"], "no field has 90 ha or more"),
        (["--level", "1.5"], "between 0 and 1"),
        (["--yield-column", "bushels"], "has no column bushels; it has yield"),
        (["--scenes", "{scene}"], "does not say when it was taken; say it as YYYY-MM-DD="),
        (["--scenes", "2024-05-20={scene}"], "at least 2 dates, and there is 1"),
        (["--polygons", "{map}", "2020-01-01={map}", "{map}"], "two polygons of 2024-06-14 have the id r"),
    ],
)
def test_refusals_name_what_is_wrong(files, tmp_path, capsys, change, words_):
    change = [text.format(scene=files["scenes"][0], map=files["polygons"][0]) for text in change]
    assert words_ in refusal(capsys, words(files, tmp_path / "out", *change))
    assert not (tmp_path / "out").exists()


def test_nothing_given_points_to_the_demo(capsys):
    assert "--demo" in refusal(capsys, [])
