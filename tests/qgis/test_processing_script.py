"""The Processing script in real QGIS: found in a scripts folder, it runs the real command and adds styled layers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

import geoseg
from tests.conftest import TINY_CLASSES, make_scene

pytestmark = pytest.mark.qgis

SCRIPTS = Path(__file__).parents[2] / "workflows" / "qgis"
COMMAND = str(Path(sys.executable).with_name("geoseg"))
LEGEND = [[item.id, item.name, item.color] for item in TINY_CLASSES]


@pytest.fixture
def run(qgis, scene, tiny_model, tmp_path):
    """Run the algorithm with parameters of the dialog."""

    def run_it(*flags, **changes):
        given = {
            "INPUT": str(scene),
            "MODEL": str(tiny_model),
            "COMMAND": COMMAND,
            "OPTIONS": "--force --backend torch",
            "OUTPUT": str(tmp_path / "out" / "map.tif"),
        }
        (tmp_path / "out").mkdir(exist_ok=True)
        # What QGIS's Python finds must not reach geoseg's: here a geoseg that cannot be imported.
        (tmp_path / "foreign").mkdir()
        (tmp_path / "foreign" / "geoseg.py").write_text("raise ImportError('the Python path of QGIS')")
        foreign = str(tmp_path / "foreign")
        return qgis.run("drive.py", str(SCRIPTS), *flags, given=given | changes, PYTHONPATH=foreign)

    return run_it


def left(folder):
    """Files; an interrupted run may leave a folder to resume from."""
    return sorted(path.name for path in (folder / "out").iterdir() if path.is_file())


def test_the_results_are_added_with_their_styles(run, scene, tiny_model, tmp_path):
    done = run(CONFIDENCE=True)
    assert "error" not in done, done
    assert set(done["layers"]) == {"my scene classes", "my scene confidence", "my scene polygons"}
    assert done["layers"]["my scene classes"]["classes"] == LEGEND
    assert done["layers"]["my scene polygons"]["classes"] == LEGEND
    assert done["layers"]["my scene confidence"]["renderer"] == "singlebandpseudocolor"
    assert done["layers"]["my scene polygons"]["rows"] > 10
    assert "predicting" in done["stages"]
    assert 100 in done["steps"]
    assert any(line.startswith("scene: 150 x 130 pixels") for line in done["said"])
    geoseg.predict(scene, output=tmp_path / "here.tif", model=tiny_model, force=True, backend="torch")
    with rasterio.open(done["results"]["OUTPUT"]) as theirs, rasterio.open(tmp_path / "here.tif") as ours:
        np.testing.assert_array_equal(theirs.read(), ours.read())


def test_the_map_alone_and_a_second_run_over_the_first(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "map.tif").write_text("from another day")
    done = run(POLYGONS=False)
    assert list(done["layers"]) == ["my scene classes"]
    assert left(tmp_path) == ["map.qml", "map.tif", "map.tif.aux.xml"]


def test_a_scene_that_does_not_fit_is_refused_in_geosegs_words(run, tmp_path):
    done = run(MODEL="dakota-crops", OPTIONS="")
    assert done["error"].startswith("geoseg: error: ")
    assert "\n" not in done["error"]
    assert "does not fit the model" in done["error"]
    assert (done["layers"], left(tmp_path)) == ({}, [])


def test_a_command_that_is_not_there_is_named(run):
    done = run(COMMAND="/no/such/geoseg")
    assert done["error"].startswith("/no/such/geoseg cannot be started (No such file")
    assert "Advanced Parameters" in done["error"]


def test_cancelling_stops_geoseg_and_leaves_no_output(run, tmp_path):
    make_scene(tmp_path / "large.tif", (3000, 3000))
    done = run("--cancel", INPUT=str(tmp_path / "large.tif"))
    assert done["error"] == "geoseg was stopped; no output was written"
    assert any("interrupted" in line for line in done["said"])
    assert (done["layers"], left(tmp_path)) == ({}, [])
