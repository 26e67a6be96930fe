"""Files of strangers: nothing in them runs, reads other files, or takes more than it may."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import numpy as np
import pytest
import rasterio

from geoseg.errors import ModelError, SceneError, SettingsError
from geoseg.grid import Grid
from geoseg.models import load_card, open_model
from geoseg.raster.source import Source
from geoseg.scene import open_scene
from geoseg.training.recipe.recipe import load_recipe
from tests.conftest import make_scene, save_tiny
from tests.scene import range_server

SIZE = 'rasterXSize="20" rasterYSize="20"'
SOURCE = '<SimpleSource><SourceFilename relativeToVRT="{}">{}</SourceFilename></SimpleSource>'
BAND = '<VRTDataset {}><VRTRasterBand dataType="Int16" band="1">{}</VRTRasterBand></VRTDataset>'
PYTHON = """<VRTDataset {size}><VRTRasterBand dataType="Int16" band="1" subClass="VRTDerivedRasterBand">
<PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage>
<PixelFunctionCode><![CDATA[
def f(in_ar, out_ar, *a, **k):
    open({marker!r}, "w")
]]></PixelFunctionCode>{source}</VRTRasterBand></VRTDataset>"""


@pytest.mark.parametrize("value", ["YES", "TRUSTED_MODULES"])
def test_python_in_a_vrt_never_runs(tmp_path, value):
    make_scene(tmp_path / "a.tif", shape=(20, 20))
    text = PYTHON.format(size=SIZE, marker=str(tmp_path / "ran"), source=SOURCE.format(1, "a.tif"))
    (tmp_path / "a.vrt").write_text(text)
    read = "import sys; from geoseg.scene import open_scene as o; from geoseg.grid import Window as W\n"
    read += "o(sys.argv[1]).read(W(0, 0, 20, 20))"
    done = subprocess.run(
        [sys.executable, "-c", read, str(tmp_path / "a.vrt")],
        env={"GDAL_VRT_ENABLE_PYTHON": value, "PATH": "", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    assert done.returncode
    assert "Error" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Writes a file for a web server, and gives its address."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "served").mkdir()
    command = [sys.executable, range_server.__file__, str(tmp_path / "served")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        port = int(process.stdout.readline())

        def serve(name, text):
            (tmp_path / "served" / name).write_text(text)
            return f"http://127.0.0.1:{port}/{name}"

        try:
            yield serve
        finally:
            process.terminate()


def test_a_vrt_on_a_server_reads_no_file_of_this_machine(tmp_path, served):
    own = make_scene(tmp_path / "own.tif", shape=(20, 20))
    bad = served("bad.vrt", BAND.format(SIZE, SOURCE.format(0, own)))
    with pytest.raises(SceneError, match=r"bad\.vrt: cannot be opened \(it names the file .*own\.tif"):
        open_scene(bad)
    hidden = served("inner.tif", BAND.format(SIZE, SOURCE.format(0, own)))  # by content, not by name
    outer = served("outer.vrt", BAND.format(SIZE, SOURCE.format(0, f"/vsicurl/{hidden}")))
    with pytest.raises(SceneError, match=r"names the file .*own\.tif"):
        open_scene(outer)
    with Source(str(own)).open() as raster:
        assert raster.count == 2
    make_scene(tmp_path / "served" / "beside.tif", shape=(20, 20))
    good = served("good.vrt", BAND.format(SIZE, SOURCE.format(1, "beside.tif")))
    assert open_scene(good).shape == (20, 20)


def test_a_small_file_that_claims_too_many_pixels_is_refused(tmp_path):
    make_scene(tmp_path / "a.tif", shape=(20, 20))
    size = 'rasterXSize="2000000000" rasterYSize="2000000000"'
    (tmp_path / "a.vrt").write_text(BAND.format(size, SOURCE.format(1, "a.tif")))
    with pytest.raises(SettingsError, match="can be planned; map a part with --aoi"):
        Grid(open_scene(tmp_path / "a.vrt").shape, 512, 64).blocks(2048)


def zipped(folder, path, **more):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.iterdir():
            if file.name not in more:
                archive.write(file, file.name)
        for name, content in more.items():
            archive.writestr(name, content)
    return path


def test_a_zip_that_grows_out_of_proportion_is_not_read(tmp_path):
    package = save_tiny(tmp_path / "tiny")
    bomb = zipped(package, tmp_path / "bomb.zip", **{"model.safetensors": bytes(30 * 2**20)})
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read: \d+ bytes would grow to"):
        open_model(bomb)


def test_members_that_lead_out_of_a_zip_are_not_followed(tmp_path):
    package = save_tiny(tmp_path / "tiny")
    names = {"../outside.txt": b"x", "/absolute.txt": b"x"}
    assert load_card(zipped(package, tmp_path / "slip.zip", **names)).name == "tiny"
    assert {path.name for path in tmp_path.iterdir()} == {"tiny", "slip.zip"}


def test_deep_nesting_is_refused(tmp_path):
    package = save_tiny(tmp_path / "tiny")
    (package / "mlm.json").write_text("[" * 100_000)
    with pytest.raises(ModelError, match="is not JSON"):
        load_card(package)
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000)
    with pytest.raises(SettingsError, match="is not TOML"):
        load_recipe(tmp_path / "deep.toml")


@pytest.mark.parametrize(
    "header",
    [
        b"\xff" * 8,
        (2**40).to_bytes(8, "little") + b"{}",
        (58).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,9999999]}}'[:58],
        (3).to_bytes(8, "little") + b"[[[",
    ],
)
def test_hostile_headers_of_weights_are_refused(tmp_path, header):
    package = save_tiny(tmp_path / "tiny")
    (package / "model.safetensors").write_bytes(header + bytes(64))
    with pytest.raises(ModelError, match="damaged or not a safetensors file"):
        _ = open_model(package).network


def test_a_scene_in_memory_is_still_read(tmp_path):
    """What is refused for servers is fine for the user's own files."""
    own = make_scene(tmp_path / "own.tif", shape=(20, 20))
    (tmp_path / "a.vrt").write_text(BAND.format(SIZE, SOURCE.format(0, own)))
    with rasterio.open(tmp_path / "a.vrt") as raster, rasterio.open(own) as same:
        np.testing.assert_array_equal(raster.read(1), same.read(1))
    assert open_scene(tmp_path / "a.vrt").shape == (20, 20)
