"""``geoseg evaluate`` on the command line, and its samples from the drawing to the estimate."""

from __future__ import annotations

import json

import geopandas
import numpy as np
import pytest

from geoseg.assess.sample import LAYER
from geoseg.cli import run as command_line
from geoseg.verbs.evaluate import evaluate
from tests.assess.maps import NAMES, random_pair, write
from tests.conftest import make_scene

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def test_draw_label_estimate(rasters, capsys):
    """The whole way: draw a sample, fill it in from the truth, estimate the areas."""
    truth, _, _ = random_pair(0, (200, 240), empty=0)
    path = rasters / "sample.gpkg"
    arguments = ["evaluate", str(rasters / "map.tif"), "--draw-sample", "400", "-o", str(path)]
    assert command_line(arguments) == 0
    shown = capsys.readouterr().out
    assert "400 points" in shown
    assert shown.splitlines()[-1] == str(path)
    assert command_line([*arguments]) == 2
    assert command_line([*arguments, "--overwrite"]) == 0
    table = geopandas.read_file(path, layer=LAYER)
    names = {i: name for i, name, _ in NAMES}
    table["reference"] = [names[int(truth[r, c])] for r, c in zip(table["row"], table["col"], strict=True)]
    table.to_file(rasters / "filled.gpkg", layer=LAYER)
    result = evaluate(rasters / "map.tif", rasters / "filled.gpkg", report=rasters / "s.html")
    report = result.report
    _, mapped, _ = random_pair(0, (200, 240))
    known = mapped != 255
    assert report["kind"] == "sample"
    low, high = report["summary"]["accuracy_interval"]
    assert low - 0.01 < (truth == mapped)[known].mean() < high + 0.01
    for row, area in zip(report["classes"], report["areas"]["classes"], strict=True):
        hectares = 0.09 * (truth[known] == row["id"]).sum()
        assert abs(area["estimated"] - hectares) < 3 * area["standard_error"]
    assert "samples" in result.text()
    assert "stratified random sample of 400" in (rasters / "s.html").read_text()


def test_the_command_line(rasters, capsys):
    arguments = ["evaluate", str(rasters / "map.tif"), "--labels", str(rasters / "labels.tif"), "--quiet"]
    options = ["--tolerance", "2px,90m", "--blocks", "1km", "--ignore", "7"]
    code = command_line([*arguments, *options, "--report", str(rasters / "o.json")])
    shown = capsys.readouterr()
    assert (code, shown.err) == (0, "")
    assert shown.out.splitlines()[-1] == str(rasters / "o.json")
    report = json.loads((rasters / "o.json").read_text())
    assert [row["tolerance"] for row in report["boundary"]] == ["2px", "90m"]
    assert report["bootstrap"]["block_pixels"] == 33
    assert report["classes"][2]["labelled_pixels"] == 0


def test_remapping_on_the_command_line(rasters):
    labels, _, _ = random_pair(0, (200, 240))
    write(
        rasters / "codes.tif",
        np.choose(np.searchsorted([1, 2, 7, 255], labels), [10, 20, 70, 0]).astype(np.uint8),
    )
    out = rasters / "o.json"
    arguments = ["evaluate", str(rasters / "map.tif"), "--labels", str(rasters / "codes.tif"), "-q"]
    assert command_line([*arguments, "--remap", "10=1,20=2,70=7", "--report", str(out)]) == 0
    expected = evaluate(rasters / "map.tif", rasters / "labels.tif").report["confusion"]
    assert json.loads(out.read_text())["confusion"] == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["map.tif"], "--labels is missing"),
        (["no-such-model", "--labels", "labels.tif"], "no such class map, and no model"),
        (["map.tif", "--labels", "missing.tif"], "missing.tif"),
        (["two.tif", "--labels", "labels.tif"], "has 2 bands"),
        (["map.tif", "--labels", "missing.gpkg"], "no such file"),
        (["map.tif", "--labels", "labels.tif", "--report", "out.txt"], ".html or .json"),
        (["map.tif", "--labels", "labels.tif", "--blocks", "large"], "7.5km"),
        (["map.tif", "--labels", "labels.tif", "--remap", "a"], "VALUE=ID"),
        (["map.tif", "--labels", "labels.tif", "--remap", "1=9"], "not a class"),
        (["map.tif", "--labels", "labels.tif", "-o", "x.gpkg"], "--draw-sample"),
        (["map.tif", "--draw-sample", "100"], "-o sample.gpkg"),
        (["map.tif", "--draw-sample", "100", "-o", "x.shp"], ".gpkg"),
        (["map.tif", "--draw-sample", "2", "-o", "x.gpkg"], "too few"),
        (["map.tif", "--draw-sample", "9", "-o", "x.gpkg", "--labels", "labels.tif"], "neither"),
        (["map.tif", "--labels", "labels.tif", "--confidence", "labels.tif", "--seed", "-1"], "--seed"),
        (["map.tif", "--labels", "labels.tif", "--aoi", "missing.gpkg"], "no such file (--aoi)"),
        (["map.tif", "--draw-sample", "100", "-o", "x.gpkg", "--aoi", "a.gpkg"], "predict --aoi"),
        (["dakota-crops", "--labels", "labels.tif"], "--scene"),
        (["dakota-crops", "--draw-sample", "100", "-o", "x.gpkg"], "make one with geoseg predict"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(rasters, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(rasters)
    make_scene(rasters / "two.tif")
    before = sorted(path.name for path in rasters.iterdir())
    assert command_line(["evaluate", *arguments]) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert sorted(path.name for path in rasters.iterdir()) == before
