"""``geoseg train --check`` as users meet it."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from rasterio.transform import Affine
from rasterio.windows import Window

from geoseg.cli import run as command_line
from geoseg.cli.train import train as command
from geoseg.errors import InputError, OutputError
from geoseg.training.label_check.check import check_labels
from geoseg.training.prepare import prepare_fold
from tests.conftest import SAMPLES
from tests.training.labelled_scenes import PLACE, make_files, write

CLASS_TABLE = '[classes]\n2 = "corn"\n5 = "grass"\n7 = "water"\n'
RECIPE = f"""
scenes = "scene.tif"
labels = "scene_labels.tif"
{CLASS_TABLE}
[split]
block_size = "40px"
folds = 3
buffer = "4px"
[chips]
size = 32
"""
SAMPLE_NAMES = (
    "corn", "soybeans", "wheat", "beans", "other crops", "grass", "forest", "water", "developed",
)  # fmt: skip


@pytest.fixture
def recipe(tmp_path):
    make_files(tmp_path)

    def write_recipe(text=RECIPE, name="crops.toml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write_recipe


def sample_recipe(folder, scene, labels):
    names = "\n".join(f'{i + 1} = "{name}"' for i, name in enumerate(SAMPLE_NAMES))
    (folder / "sample.toml").write_text(f'scenes = "{scene}"\nlabels = "{labels}"\n[classes]\n{names}\n')
    return folder / "sample.toml"


def levels(check):
    return {finding.code: finding.level for finding in check.findings}


def message(check, code):
    return next(f"{finding.message}; {finding.fix}" for finding in check.findings if finding.code == code)


def test_without_a_fold_that_validates_none_is_missed(recipe):
    text = RECIPE.partition("[split]")[0] + '[split]\nmethod = "none"\n[chips]\nsize = 32\n'
    check = check_labels(recipe(text))
    assert check.can_train
    assert not {"nothing-validates", "class-not-validated"} & set(levels(check))


def test_sound_labels(tmp_path):
    check = check_labels(sample_recipe(tmp_path, SAMPLES / "farmland.tif", SAMPLES / "farmland_labels.tif"))
    assert check.can_train
    assert set(levels(check).values()) == {"ok"}
    assert set(levels(check)) == {"unlabelled", "labels-on-nodata", "classes", "shift"}
    text = check.text()
    assert text.splitlines()[-1] == "sample.toml can be trained"
    with rasterio.open(SAMPLES / "farmland_labels.tif") as source:
        labels = source.read(1)
    table = [line for line in text.splitlines() if re.match(r"\d ", line)]
    assert len(table) == 9
    assert len({len(line) for line in table}) == 1  # columns line up
    for i, line in enumerate(table):
        assert f" {np.count_nonzero(labels == i + 1):,} " in line
        assert f" {np.mean(labels[labels > 0] == i + 1):.1%} " in line


def test_shifted_labels_are_warned_of_in_pixels_and_metres(tmp_path):
    with rasterio.open(SAMPLES / "farmland_labels.tif") as source:
        values, profile = source.read(1), source.profile
    moved = profile | {"transform": profile["transform"] * Affine.translation(-3, 2)}
    with rasterio.open(tmp_path / "moved.tif", "w", **moved) as target:
        target.write(values, 1)
    path = sample_recipe(tmp_path, SAMPLES / "farmland.tif", tmp_path / "moved.tif")
    check = check_labels(path, report=tmp_path / "out.json")
    assert check.can_train
    assert check.findings[0].level == "warn"
    found = message(check, "shift")
    assert "2.0 rows down and 3.0 columns left (60 m and 90 m)" in found
    assert "move the labels 60 m north and 90 m east" in found
    assert check.text().splitlines()[-1].endswith("; 1 warning")
    (scene,) = json.loads((tmp_path / "out.json").read_text())["scenes"]
    assert scene["shift"]["offset"]["rows"] == pytest.approx(2, abs=0.1)
    assert scene["shift"]["metres"] == pytest.approx([60, -90], abs=4)


def test_the_command_and_its_report(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command, [str(recipe()), "--check", "--report", "out.json", "--quiet"])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1].startswith("crops.toml can be trained")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "crops.toml", "out.json", "scene.tif", "scene_labels.tif",
    ]  # fmt: skip
    written = json.loads((tmp_path / "out.json").read_text())
    check = check_labels(recipe())
    assert written["can_train"]
    assert [finding["code"] for finding in written["findings"]] == [f.code for f in check.findings]
    assert [one["pixels"] for one in written["classes"]] == check.statistics.pixels.tolist()
    assert [one["training_pixels"] for one in written["classes"]] == check.statistics.training.tolist()
    assert written["pixels"]["labels_on_nodata"] == check.statistics.on_nodata > 0
    assert written["classes"][0]["area_ha"] == pytest.approx(check.statistics.hectares[0])
    assert {"report_version", "kind", "versions", "seconds", "scenes", "fold"} <= set(written)
    with pytest.raises(OutputError, match="--overwrite"):
        check_labels(recipe(), report=tmp_path / "out.json")
    with pytest.raises(OutputError, match=r"\.json"):
        check_labels(recipe(), report=tmp_path / "out.html")


def test_a_report_belongs_to_a_check(recipe):
    done = CliRunner().invoke(command, [str(recipe()), "--report", "out.json"])
    assert done.exit_code == 2
    assert "--report goes with --check" in done.output


def test_values_that_are_no_class_are_all_named(recipe, tmp_path, capsys):
    path = recipe(RECIPE.replace('5 = "grass"\n', "").replace('7 = "water"', '9 = "water"'))
    assert command_line(["train", str(path), "--check", "--quiet"]) == 2
    text = capsys.readouterr().out
    with rasterio.open(tmp_path / "scene_labels.tif") as source:
        labels = source.read(1)
    assert "STOP:" in text
    assert f"5 ({(labels == 5).sum():,} pixels)" in text
    assert f"7 ({(labels == 7).sum():,} pixels)" in text
    assert "[label_values]" in text
    assert text.splitlines()[-1] == "training would refuse crops.toml"
    check = check_labels(path)
    assert not check.can_train
    assert check.statistics is None


@pytest.mark.parametrize(
    ("change", "code", "hint"),
    [
        (("folds = 3", "folds = 50"), "split", "labelled blocks"),
        (('buffer = "4px"', 'buffer = "500px"'), "nothing-trains", "buffer"),
    ],
)
def test_what_training_would_refuse(recipe, change, code, hint, capsys):
    path = recipe(RECIPE.replace(*change))
    check = check_labels(path)
    assert levels(check)[code] == "stop"
    assert hint in message(check, code)
    with pytest.raises(InputError):
        prepare_fold(check.recipe)
    assert command_line(["train", str(path), "--check", "--quiet"]) == 2
    assert "training would refuse" in capsys.readouterr().out


def test_an_empty_band_and_no_valid_pixel(recipe, tmp_path):
    with rasterio.open(tmp_path / "scene.tif") as source:
        values = source.read()
    values[1] = -9999
    write(tmp_path / "one.tif", values, nodata=-9999)
    found = message(check_labels(recipe(RECIPE.replace('"scene.tif"', '"one.tif"'))), "band-empty")
    assert "band 2" in found
    write(tmp_path / "none.tif", np.full_like(values, -9999), nodata=-9999)
    empty = check_labels(recipe(RECIPE.replace('"scene.tif"', '"none.tif"')))
    assert levels(empty)["no-valid-pixel"] == "stop"


def test_wrong_recipes_and_files_end_as_in_training(recipe, tmp_path, capsys):
    assert command_line(["train", str(tmp_path / "none.toml"), "--check"]) == 2
    path = recipe(RECIPE.replace("scene_labels.tif", "gone.tif"))
    assert command_line(["train", str(path), "--check", "-q"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 2
    assert "gone.tif" in said[1]


def test_labels_on_nodata_and_a_rim(recipe):
    check = check_labels(recipe(RECIPE + "[label_values]\nrim = 2\n"))
    assert levels(check)["rim"] == "note"
    assert f"{check.statistics.in_rim:,} labels" in message(check, "rim")
    assert levels(check)["labels-on-nodata"] == "warn"
    assert f"{check.statistics.on_nodata:,} labelled pixels" in message(check, "labels-on-nodata")


def test_polygon_labels(recipe, tmp_path):
    def box(col, row, width, height):
        x, y = PLACE * (col, row)
        return shapely.box(x, y - 10 * height, x + 10 * width, y)

    rows = [(name, box(col, row, 22, 22)) for row in range(0, 140, 25) for col, name in zip(
        range(0, 120, 25), ("corn", "grass", "water", "corn", "fallow"), strict=True)]  # fmt: skip
    rows += [("water", box(10, 10, 8, 8)), ("corn", box(200, 0, 5, 5)), ("corn", box(60, 60, 0.3, 0.3))]
    rows += [("corn", box(0, 0, 22, 22)), ("corn", shapely.LineString([(0, 0), (1, 1)]).buffer(0))]
    bow = shapely.Polygon([PLACE * point for point in ((70, 0), (74, 4), (74, 0), (70, 4))])
    rows.append(("water", bow))
    geopandas.GeoDataFrame(
        {"crop": [name for name, _ in rows]}, geometry=[shape for _, shape in rows], crs="EPSG:32614"
    ).to_file(tmp_path / "fields.gpkg")
    text = RECIPE.replace("scene_labels.tif", "fields.gpkg") + '[label_values]\nignore = ["fallow"]\n'
    check = check_labels(recipe(text))
    found = levels(check)
    assert found["polygons-contradict"] == found["polygons-invalid"] == "warn"
    assert found["polygons-doubled"] == found["polygons-tiny"] == found["polygons-outside"] == "note"
    assert found["polygons-overlap"] == found["labels-ignored"] == "note"
    assert "on 64 pixels, 0.64 ha" in message(check, "polygons-contradict")
    assert "fallow (6 polygons)" in message(check, "labels-ignored")
    assert "1 of 29 polygons lie outside the scene (rows 32)" in message(check, "polygons-outside")
    assert "polygons" not in found  # which would say that all is well
    assert "fields.gpkg (polygons, class in column crop)" in check.text()
    sound = tmp_path / "sound.gpkg"
    geopandas.GeoDataFrame(
        {"crop": [name for name, _ in rows[:25]]}, geometry=[s for _, s in rows[:25]], crs="EPSG:32614"
    ).to_file(sound)
    better = check_labels(recipe(text.replace("fields.gpkg", "sound.gpkg"), "sound.toml"))
    assert levels(better)["polygons"] == "ok"
    unknown = check_labels(recipe(text.replace("fallow", "summer"), "unknown.toml"))
    assert not unknown.can_train
    assert "fallow (6 polygons)" in message(unknown, "label-values")


def test_several_scenes_are_reported_each(recipe, tmp_path):
    make_files(tmp_path, (96, 90), 3, "other")
    text = RECIPE.replace('"scene.tif"', '["scene.tif", "other.tif"]')
    check = check_labels(
        recipe(text.replace('"scene_labels.tif"', '["scene_labels.tif", "other_labels.tif"]'))
    )
    assert len(check.shifts) == len(check.values) == 2
    assert sum(finding.code.startswith("shift") for finding in check.findings) == 2
    assert "150 rows x 130 columns of 10 m" in check.text()
    assert "96 rows x 90 columns of 10 m" in check.text()


def test_checking_needs_no_training_packages(recipe):
    code = (
        "import sys; from geoseg.training.label_check.check import check_labels; check_labels(sys.argv[1]); "
        "print([m for m in ('torch', 'lightning', 'torchvision', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(recipe())], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_shifts_without_metres(tmp_path):
    scene, labels = make_files(tmp_path)
    bare = {"crs": None, "transform": Affine.identity()}
    with rasterio.open(scene) as source, rasterio.open(labels) as other:
        values, ids = source.read(), other.read()
    write(tmp_path / "scene.tif", values, nodata=-9999, **bare)
    write(tmp_path / "scene_labels.tif", np.roll(ids, 2, axis=1), nodata=0, **bare)
    (tmp_path / "crops.toml").write_text(RECIPE)
    check = check_labels(tmp_path / "crops.toml")
    assert "2.0 rows down and 0.0 columns" in message(check, "shift")
    assert "move the labels 2.0 pixels up and 0.0" in message(check, "shift")
    assert "area ha" in check.text()


@pytest.mark.realdata
def test_the_real_scene_is_sound(real_data, tmp_path):
    for name in ("scene", "classes"):
        with rasterio.open(real_data / "dakota" / f"{name}.tif") as source:
            part = Window(256, 3584, 2048, 1536)
            values, place = source.read(window=part), source.window_transform(part)
            write(tmp_path / f"{name}.tif", values, crs=source.crs, transform=place, nodata=source.nodata)
    check = check_labels(sample_recipe(tmp_path, "scene.tif", "classes.tif"))
    assert check.can_train
    assert set(levels(check).values()) <= {"ok", "note"}  # forest is a rare class
    assert levels(check)["shift"] == "ok"
    assert check.statistics.labelled == np.count_nonzero(values)
    offset = check.shifts[0].offset
    assert max(abs(offset.rows), abs(offset.cols)) < 0.2
