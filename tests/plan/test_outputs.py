"""Outputs that cannot be written, or would harm another file, are refused before anything is done."""

from __future__ import annotations

import os

import pytest

import geoseg
from geoseg.errors import InputError, OutputError
from geoseg.files import atomic, remove_leftovers, temporary_path
from geoseg.plan.outputs import check_outputs
from tests.conftest import make_scene


def check(path, inputs=(), **options):
    check_outputs({"-o": path}, [str(name) for name in inputs], endings={}, **({"overwrite": True} | options))


@pytest.mark.parametrize("letter", ["a", "ж"])
def test_names_that_leave_no_room_beside_them(tmp_path, letter):
    longest = letter * (239 // len(letter.encode()))
    check(tmp_path / f"{longest}.tif")
    with pytest.raises(OutputError, match=r"-o .*: the name has \d+ bytes; at most 243 leave room"):
        check(tmp_path / f"{longest}{letter * 3}.tif")


def test_the_longest_name_works(tmp_path, tiny_model):
    scene = make_scene(tmp_path / "a.tif", shape=(40, 40))
    output = tmp_path / f"{'m' * 239}.tif"
    geoseg.predict(scene, output, model=tiny_model, force=True)
    assert output.is_file()


def test_temporary_names_fit_and_are_found_again(tmp_path, monkeypatch):
    path = tmp_path / f"{'ж' * 120}.tif"
    with atomic(path) as part:
        part.write_bytes(b"x")
    assert path.read_bytes() == b"x"
    left = temporary_path(path)
    left.touch()
    monkeypatch.setattr("geoseg.files._is_running", lambda _pid: False)
    remove_leftovers([path])
    assert not left.exists()


def test_an_output_that_is_an_input_by_another_name(tmp_path):
    scene = make_scene(tmp_path / "scene.tif", shape=(20, 20))
    os.link(scene, tmp_path / "hard.tif")
    (tmp_path / "soft.tif").symlink_to(scene)
    (tmp_path / "there").symlink_to(tmp_path)
    for name in ("hard.tif", "soft.tif", "there/scene.tif"):
        with pytest.raises(OutputError, match="give it another name"):
            check(tmp_path / name, [scene])
    check(tmp_path / "other.tif", [scene, "NETCDF:a.nc:b"])


def test_the_tiles_of_a_vrt_and_the_area_are_inputs(tmp_path, tiny_model):
    from rasterio.shutil import copy

    tile = make_scene(tmp_path / "tile.tif", shape=(20, 20))
    copy(tile, tmp_path / "all.vrt", driver="VRT")
    before = tile.read_bytes()
    with pytest.raises(OutputError, match="give it another name"):
        geoseg.predict(tmp_path / "all.vrt", tile, model=tiny_model, overwrite=True)
    (tmp_path / "area.gpkg").write_bytes(b"an area")
    with pytest.raises(OutputError, match="give it another name"):
        geoseg.predict(
            tile, tmp_path / "m.tif", polygons=tmp_path / "area.gpkg", aoi=tmp_path / "area.gpkg",
            model=tiny_model, overwrite=True,
        )  # fmt: skip
    assert tile.read_bytes() == before
    assert (tmp_path / "area.gpkg").read_bytes() == b"an area"


def test_inputs_whose_name_is_no_utf8_are_named(tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.tif")
    make_scene(tmp_path / "a.tif", shape=(20, 20)).rename(name)
    with pytest.raises(InputError, match="not in UTF-8"):
        geoseg.polygonize(name, tmp_path / "p.gpkg")


def test_places_where_nothing_can_be_written(tmp_path):
    (tmp_path / "m.tif.geoseg-work").mkdir()
    (tmp_path / "file").touch()
    for path, said in (
        (tmp_path / "m.tif.geoseg-work" / "a.tif", "lies in a work folder"),
        (tmp_path / "none" / "a.tif", "there is no folder"),
        (tmp_path / "file" / "a.tif", "there is no folder"),
        (tmp_path / "/".join(["x" * 200] * 30) / "a.tif", "cannot be written"),
        (tmp_path / os.fsdecode(b"caf\xe9.tif"), "not UTF-8"),
    ):
        with pytest.raises(OutputError, match=said):
            check(path)
