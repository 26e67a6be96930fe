"""``geoseg evaluate --contradictions``: labels that the map contradicts, in order."""

from __future__ import annotations

import json

import geopandas
import numpy as np
import pytest
import shapely

from geoseg.assess.sample import LAYER
from geoseg.cli import run as command_line
from geoseg.errors import InputError, OutputError
from geoseg.labels.labels import open_labels
from geoseg.maps.class_map_file import open_class_map
from geoseg.training.contradictions.contradictions import write_contradictions
from geoseg.verbs.evaluate import evaluate
from tests.assess.maps import NAMES, PLACE, write

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def test_contradictions_of_a_map(rasters, capsys):
    """The command, the function and the library find the same; the report says how much."""
    out = rasters / "review.gpkg"
    options = {"confidence": rasters / "conf.tif", "contradictions": out}
    result = evaluate(rasters / "map.tif", rasters / "labels.tif", report=rasters / "r.json", **options)
    assert result.outputs == {"json": rasters / "r.json", "contradictions": out}
    class_map = open_class_map(rasters / "map.tif", rasters / "conf.tif")
    labels = open_labels(rasters / "labels.tif", rasters / "map.tif", class_map.legend)
    own = write_contradictions(
        rasters / "own.gpkg", predicted=class_map, labels=labels, classes=class_map.legend
    )
    found = geopandas.read_file(out, layer="contradictions")
    assert found.drop(columns="geometry").equals(
        geopandas.read_file(rasters / "own.gpkg", layer="contradictions").drop(columns="geometry")
    )
    said = json.loads((rasters / "r.json").read_text())["contradictions"]
    assert (said["places"], said["written"]) == (own.found, len(found))
    assert said["contradicted_pixels"] == own.contradicted > 0
    command = ["evaluate", "map.tif", "--labels", "labels.tif", "--confidence", "conf.tif"]
    arguments = [command[0], *(str(rasters / item) if "." in item else item for item in command[1:])]
    assert command_line([*arguments, "--contradictions", str(rasters / "cli.gpkg"), "-q"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(rasters / "cli.gpkg")
    assert (rasters / "cli.gpkg").is_file()


def test_a_sample_of_pixels_has_no_places(rasters):
    evaluate(rasters / "map.tif", draw_sample=30, output=rasters / "sample.gpkg")
    sample = geopandas.read_file(rasters / "sample.gpkg", layer=LAYER)
    sample["reference"] = "corn"
    sample.to_file(rasters / "filled.gpkg", layer=LAYER)
    with pytest.raises(InputError, match="no places to rank"):
        evaluate(
            rasters / "map.tif",
            rasters / "filled.gpkg",
            confidence=rasters / "conf.tif",
            contradictions=rasters / "c.gpkg",
        )
    assert not (rasters / "c.gpkg").exists()


def test_contradictions_honour_what_labels_mean_and_where(rasters):
    """Ignored labels contradict nothing, and neither do those outside the area of interest."""
    options = {"confidence": rasters / "conf.tif", "overwrite": True, "contradictions": rasters / "c.gpkg"}
    mapped, labels = np.full((200, 240), 1, np.uint8), np.full((200, 240), 1, np.uint8)
    labels[10:30, 10:30], labels[100:130, 100:130] = 2, 7
    write(rasters / "m.tif", mapped, names=NAMES)
    write(rasters / "l.tif", labels)
    write(rasters / "conf.tif", np.full((200, 240), 90, np.uint8))
    evaluate(rasters / "m.tif", rasters / "l.tif", **options)
    every = geopandas.read_file(rasters / "c.gpkg", layer="contradictions")
    assert every.label_id.tolist() == [7, 2]
    assert every.pixel_count.tolist() == [900, 400]
    evaluate(rasters / "m.tif", rasters / "l.tif", ignore=[7], **options)
    assert geopandas.read_file(rasters / "c.gpkg", layer="contradictions").label_id.tolist() == [2]
    t = PLACE["transform"]
    area = shapely.box(*(t * (90, 200)), *(t * (240, 90)))
    geopandas.GeoDataFrame(geometry=[area], crs=PLACE["crs"]).to_file(rasters / "area.gpkg")
    evaluate(rasters / "m.tif", rasters / "l.tif", aoi=rasters / "area.gpkg", **options)
    assert geopandas.read_file(rasters / "c.gpkg", layer="contradictions").label_id.tolist() == [7]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({}, InputError, "--confidence"),
        ({"confidence": "conf.tif", "output": "x.tif"}, OutputError, "must end in .gpkg"),
        ({"confidence": "conf.tif", "exists": True}, OutputError, "--overwrite"),
        ({"confidence": "conf.tif", "draw_sample": 5}, InputError, "--draw-sample takes no --contradictions"),
    ],
)
def test_contradictions_that_cannot_be_ranked(rasters, options, error, says):
    target = rasters / options.pop("output", "c.gpkg")
    if options.pop("exists", False):
        target.touch()
    if "confidence" in options:
        options["confidence"] = rasters / options["confidence"]
    labels = None if "draw_sample" in options else rasters / "labels.tif"
    output = rasters / "sample.gpkg" if labels is None else None
    with pytest.raises(error, match=says):
        evaluate(rasters / "map.tif", labels, contradictions=target, output=output, **options)
    assert not target.exists() or not target.stat().st_size
