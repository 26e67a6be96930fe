"""Inputs that cannot be used, over all verbs: one line that names the file, exit 2, and nothing is touched."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import torch
from shapely.geometry import box

from geoseg.cli import run
from geoseg.models import load_card, load_model, save_model
from tests.conftest import save_tiny
from tests.training.labelled_scenes import make_files
from tests.training.training_runs import RECIPE

ROLES = {
    "predict scene": "predict BAD.tif --model GOOD/model -o OUT.tif --force",
    "predict second file": "predict GOOD/scene.tif BAD.tif --model GOOD/model -o OUT.tif --force",
    "predict aoi": "predict GOOD/scene.tif --model GOOD/model --aoi BAD.gpkg -o OUT.tif --force",
    "predict package": "predict GOOD/scene.tif --model BAD.zip -o OUT.tif --force",
    "predict onnx": "predict GOOD/scene.tif --model BAD.onnx -o OUT.tif --force",
    "inspect scene": "inspect BAD.tif --model GOOD/model",
    "inspect package": "inspect GOOD/scene.tif --model BAD.zip",
    "polygonize map": "polygonize BAD.tif -o OUT.gpkg",
    "polygonize confidence": "polygonize GOOD/map.tif --confidence BAD.tif -o OUT.gpkg",
    "polygonize probabilities": "polygonize GOOD/map.tif --probabilities BAD.tif -o OUT.gpkg",
    "polygonize statistics": "polygonize GOOD/map.tif --stats 1:mean --stats-from BAD.tif -o OUT.gpkg",
    "evaluate map": "evaluate BAD.tif --labels GOOD/scene_labels.tif --report OUT.json",
    "evaluate labels raster": "evaluate GOOD/map.tif --labels BAD.tif --report OUT.json",
    "evaluate labels vector": "evaluate GOOD/map.tif --labels BAD.gpkg --label-column name --report OUT.json",
    "evaluate confidence": "evaluate GOOD/map.tif --labels GOOD/scene_labels.tif --confidence BAD.tif --report OUT.json",
    "evaluate aoi": "evaluate GOOD/map.tif --labels GOOD/scene_labels.tif --aoi BAD.geojson --report OUT.json",
    "evaluate scene": "evaluate GOOD/model --scene BAD.tif --labels GOOD/scene_labels.tif --report OUT.json --force",
    "evaluate sample": "evaluate BAD.tif --draw-sample 20 -o OUT.gpkg",
    "train recipe": "train BAD.toml -o OUT",
    "train scene": "train RECIPE:scene.tif -o OUT",
    "train labels": "train RECIPE:scene_labels.tif -o OUT",
    "train check": "train RECIPE:scene.tif --check",
    "show package": "models show BAD.zip",
    "export package": "models export BAD.zip --to onnx -o OUT",
    "quantize package": "models quantize BAD.zip --scenes GOOD/scene.tif -o OUT",
    "quantize scene": "models quantize GOOD/model --scenes BAD.tif -o OUT --force",
}
"""Where a file is read -> the command, with BAD for the file that cannot be used."""
LIKE = {
    "tif": "scene.tif",
    "gpkg": "fields.gpkg",
    "geojson": "fields.geojson",
    "zip": "model.zip",
    "onnx": "model.onnx",
    "toml": "recipe.toml",
}
KINDS = ("missing", "empty", "truncated", "text", "noise", "folder", "unreadable")
PLACES = (
    "long name",
    "closed folder",
    *(pytest.param(kind, marks=pytest.mark.longer) for kind in ("loop of links", "below a file")),
)
"""Paths at which the system does not even look."""


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Files that every command takes."""
    folder = tmp_path_factory.mktemp("good")
    scene, labels = make_files(folder)
    with rasterio.open(labels) as raster:
        place, classes = {"crs": raster.crs, "transform": raster.transform}, raster.read()
    size = {"driver": "GTiff", "height": 150, "width": 130, "dtype": "uint8"}
    with rasterio.open(folder / "map.tif", "w", count=1, nodata=255, **size, **place) as raster:
        raster.write(classes)
    for name, count in (("confidence.tif", 1), ("probabilities.tif", 3)):
        with rasterio.open(folder / name, "w", count=count, nodata=255, **size, **place) as raster:
            raster.write(np.full((count, 150, 130), 80, np.uint8))
    fields = geopandas.GeoDataFrame(
        {"name": ["corn", "grass"]},
        geometry=[box(500100, 5199000, 500500, 5199400), box(500600, 5199000, 500900, 5199400)],
        crs="EPSG:32614",
    )
    fields.to_file(folder / "fields.gpkg")
    fields.to_crs(4326).to_file(folder / "fields.geojson")
    model = save_tiny(folder / "model")
    shutil.make_archive(str(folder / "model"), "zip", model)
    (folder / "model.onnx").write_bytes((model / "model.safetensors").read_bytes())
    (folder / "recipe.toml").write_text(RECIPE)
    odd = RECIPE.replace("scene.tif", "picture.png").replace("scene_labels.tif", "labels.json")
    (folder / "odd.toml").write_text(odd)
    for name in ("picture.png", "labels.json", "odd.json"):
        shutil.copy(scene, folder / name)
    rasterio.shutil.copy(scene, folder / "scene.vrt", driver="VRT")
    (folder / "other").mkdir()
    (folder / "other" / "letter.txt").write_text("mine")
    return folder


def spoil(path: Path, like: Path, kind: str) -> None:
    """Put something that cannot be used where a file like another one is expected."""
    path.unlink(missing_ok=True)
    whole = like.read_bytes()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(whole[: len(whole) * 2 // 5])
    elif kind == "text":
        path.write_text("not what was asked for\n")
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(1).bytes(5000))
    elif kind == "folder":
        path.mkdir()
    elif kind == "unreadable":
        path.write_bytes(whole)
        path.chmod(0)


def snapshot(*folders: Path) -> dict[Path, bytes | None]:
    """Every file below some folders with its bytes, None for folders and what may not be read."""
    paths = [path for folder in folders for path in folder.rglob("*")]
    return {
        path: path.read_bytes() if path.is_file() and path.stat().st_mode & 0o777 else None for path in paths
    }


@contextmanager
def permissions_count() -> Iterator[None]:
    """Have this thread's permissions to files checked even if it is root's."""
    if os.geteuid() != 0 or sys.platform != "linux":
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this thread
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable; then their upper halves
    assert libc.capget(header, sets) == 0
    all_rights = sets[0]
    sets[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = all_rights
        assert libc.capset(header, sets) == 0


def refused(capfd, words: list[str], *watched: Path, code: int = 2) -> str:
    """Run a command that must be refused; returns its one line."""
    before = snapshot(*watched)
    exit_code = run(words)
    said = capfd.readouterr()
    lines = [line for line in said.err.splitlines() if not line.startswith("warning: ")]
    assert exit_code == code, (exit_code, said)
    assert "Traceback" not in said.err
    assert lines[-1].startswith(("geoseg: error: ", "Error: ")), said.err
    assert sum(line.startswith(("geoseg: ", "Error: ")) for line in lines) == 1, said.err
    assert snapshot(*watched) == before
    return lines[-1]


def words_of(command: str, good: Path, folder: Path, kind: str) -> tuple[list[str], *tuple[Path, ...]]:
    """The words of a command of ``ROLES``, and the file in it that cannot be used."""
    files: list[Path] = []

    def spelt(word: str) -> str:
        name, _, ending = word.partition(".")
        if name == "BAD":
            files.append(folder / f"bad.{ending}")
            spoil(files[0], good / LIKE[ending], kind)
            return str(files[0])
        if name.startswith("RECIPE"):
            for file in ("recipe.toml", "scene.tif", "scene_labels.tif"):
                shutil.copy(good / file, folder)
            files.append(folder / word.partition(":")[2])
            spoil(files[0], good / files[0].name, kind)
            return str(folder / "recipe.toml")
        if name.startswith("GOOD"):
            return str(good / word.removeprefix("GOOD").lstrip("/"))
        return str(folder / word.lower()) if word.startswith("OUT") else word

    return [spelt(word) for word in command.split()], *files


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("role", ROLES)
def test_file_that_cannot_be_used(role, kind, good, tmp_path, capfd):
    words, bad = words_of(ROLES[role], good, tmp_path, kind)
    with permissions_count():
        line = refused(capfd, words, tmp_path, good)
    assert bad.name in line


def misplaced(path: Path, kind: str) -> Path:
    """Make a path, with the ending of another one, that cannot be looked at."""
    if kind == "long name":
        return path.with_name("b" * 300 + path.name)
    if kind == "loop of links":
        path.unlink(missing_ok=True)
        path.symlink_to(path.name)
        return path
    around = path.with_name("around")
    if kind == "below a file":
        around.touch()
    else:
        around.mkdir()
        (around / path.name).touch()
        around.chmod(0)
    return around / path.name


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("role", ROLES)
def test_path_that_cannot_be_looked_at(role, kind, good, tmp_path, capfd):
    words, old = words_of(ROLES[role], good, tmp_path, "missing")
    bad = misplaced(old, kind)
    if str(old) in words:
        words[words.index(str(old))] = str(bad)
    else:
        recipe = tmp_path / "recipe.toml"
        recipe.write_text(recipe.read_text().replace(f'"{old.name}"', f'"{bad}"'))
    try:
        with permissions_count():
            assert bad.name[:40] in refused(capfd, words, good)
    finally:
        if kind == "closed folder":
            bad.parent.chmod(0o755)


@pytest.mark.parametrize("key", ["scenes", "labels", "start_from"])
@pytest.mark.parametrize("name", ["[" * 3000, r"a\u0000b"])
def test_recipe_that_names_no_path(key, name, good, tmp_path, capfd):
    for file in ("scene.tif", "scene_labels.tif"):
        shutil.copy(good / file, tmp_path)
    lines = [line for line in RECIPE.splitlines() if not line.startswith(key)]
    text = "\n".join(lines) if key != "start_from" else RECIPE + "[transfer]"
    where = text + f'\n{key} = "{name}"\n' if key == "start_from" else f'{key} = "{name}"\n{text}'
    (tmp_path / "recipe.toml").write_text(where)
    line = refused(capfd, ["train", str(tmp_path / "recipe.toml"), "--check"], tmp_path)
    assert "[[[" in line or "null" in line or r"\x00" in line
    assert len(line) < 4000


SETTINGS = {
    "output is the scene": "predict GOOD/scene.tif --model GOOD/model -o GOOD/scene.tif --force --overwrite | scene.tif",
    "output is in the scene": "predict GOOD/scene.vrt --model GOOD/model -o GOOD/scene.tif --force --overwrite | scene.tif",
    "report is the scene": "evaluate GOOD/model --scene GOOD/odd.json --labels GOOD/map.tif --report GOOD/odd.json --overwrite | odd.json",
    "polygons in a missing folder": "predict GOOD/scene.tif --model GOOD/model --polygons OUT/no/f.gpkg -o OUT.tif | out/no",
    "output without an ending": "predict GOOD/scene.tif --model GOOD/model -o OUT.jpg --force | out.jpg",
    "confidence is the map": "predict GOOD/scene.tif --model GOOD/model -o OUT.tif --confidence OUT.tif | out.tif",
    "report is the model": "predict GOOD/scene.tif --model GOOD/model -o OUT.tif --report GOOD/model/mlm.json --overwrite | mlm.json",
    "map over itself": "polygonize GOOD/map.tif -o OUT.gpkg --refined GOOD/map.tif --overwrite | map.tif",
    "polygons over the map": "polygonize GOOD/map.tif -o GOOD/map.tif --overwrite | map.tif",
    "report over the labels": "evaluate GOOD/map.tif --labels GOOD/fields.geojson --report GOOD/fields.geojson --overwrite | fields.geojson",
    "sample over the map": "evaluate GOOD/map.tif --draw-sample 9 -o GOOD/map.tif --overwrite | map.tif",
    "bands of another scene": "predict GOOD/scene_labels.tif --model GOOD/model -o OUT.tif | scene_labels.tif",
    "a band that is not there": "predict GOOD/scene.tif --model GOOD/model --bands red,9 -o OUT.tif --force | scene.tif",
    "map of two bands": "polygonize GOOD/scene.tif -o OUT.gpkg | scene.tif",
    "probabilities of another map": "polygonize GOOD/map.tif --probabilities GOOD/map.tif -o OUT.gpkg | map.tif",
    "labels of two bands": "evaluate GOOD/map.tif --labels GOOD/scene.tif --report OUT.json | scene.tif",
    "unknown column": "evaluate GOOD/map.tif --labels GOOD/fields.gpkg --label-column crop --report OUT.json | fields.gpkg",
    "unknown model": "predict GOOD/scene.tif --model dakota -o OUT.tif | dakota",
    "quantize over a package": "models quantize GOOD/model --scenes GOOD/scene.tif -o GOOD/model | model",
    "train over a package": "train GOOD/recipe.toml -o GOOD/model | model",
    "train over its own files": "train GOOD/recipe.toml -o GOOD --overwrite | recipe.toml",
    "train over other files": "train GOOD/recipe.toml -o GOOD/other --overwrite | other",
    "sheet of chips over a scene": "train GOOD/odd.toml --preview GOOD/picture.png --overwrite | picture.png",
    "report of a check over the labels": "train GOOD/odd.toml --check --report GOOD/labels.json --overwrite | labels.json",
    "no room": "predict GOOD/scene.tif --model GOOD/model -o OUT.tif --force | out.tif",
}
"""What is wrong -> the command and, after the bar, what its line names."""


@pytest.mark.parametrize("what", SETTINGS)
def test_command_that_cannot_work(what, good, tmp_path, capfd, monkeypatch):
    command, _, name = SETTINGS[what].partition(" | ")
    if what == "no room":
        monkeypatch.setattr(
            shutil, "disk_usage", lambda _path: SimpleNamespace(free=1000, total=10**9, used=0)
        )
    words, *_ = words_of(command, good, tmp_path, "missing")
    assert name in refused(capfd, words, tmp_path, good)


def test_network_that_gives_nan(good, tmp_path, capfd):
    card = load_card(good / "model")
    network = load_model(good / "model").network
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(1e15)  # finite, but not what it computes
    save_model(tmp_path / "wild", card, network)
    command = "predict GOOD/scene.tif -o OUT.tif --polygons OUT.gpkg --confidence OUT2.tif --force --model"
    words, *_ = words_of(command, good, tmp_path, "missing")
    line = refused(capfd, [*words, str(tmp_path / "wild")], tmp_path, good, code=1)
    assert "the network gives NaN in block 0,0" in line


KEYS = {
    ("mlm.json", '"geoseg:low": 0.0', f'"geoseg:low": {10**400}'): "finite number",
    ("mlm.json", '"geoseg:format": 1', '"geoseg:format": 99'): "geoseg:format",
    ("mlm.json", '"mlm:architecture"', '"mlm:arch"'): "mlm:architecture",
    ("mlm.json", '"mean": 0.2', '"mean": NaN'): "mean",
    ("config.json", '"Unet', '["Unet'): "not JSON",
    ("config.json", '"in_channels": 2', '"in_channels": 3'): "in_channels",
}
"""File of a package, what stands there and what is put there -> what the line says of it."""


@pytest.mark.parametrize("change", KEYS, ids=lambda change: " ".join(change)[:40])
def test_package_with_a_wrong_key(change, good, tmp_path, capfd):
    name, old, new = change
    shutil.copytree(good / "model", tmp_path / "model")
    text = (tmp_path / "model" / name).read_text()
    assert old in text
    (tmp_path / "model" / name).write_text(text.replace(old, new, 1))
    words, *_ = words_of("predict GOOD/scene.tif -o OUT.tif --force --model", good, tmp_path, "missing")
    line = refused(capfd, [*words, str(tmp_path / "model")], tmp_path, good)
    assert name in line
    assert KEYS[change] in line


def test_architecture_that_is_no_text(good, tmp_path, capfd):
    shutil.copytree(good / "model", tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text()) | {"_model_class": ["Unet"]}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    words, *_ = words_of("predict GOOD/scene.tif -o OUT.tif --force --model", good, tmp_path, "missing")
    assert "_model_class" in refused(capfd, [*words, str(tmp_path / "model")], tmp_path, good)


def test_zip_whose_contents_do_not_unpack(good, tmp_path, capfd):
    with zipfile.ZipFile(tmp_path / "model.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("mlm.json", "config.json", "model.safetensors"):
            archive.write(good / "model" / name, name)
        place = archive.getinfo("mlm.json").header_offset + 40
    data = bytearray((tmp_path / "model.zip").read_bytes())
    data[place : place + 8] = b"\xff" * 8
    (tmp_path / "model.zip").write_bytes(data)
    assert "mlm.json" in refused(capfd, ["models", "show", str(tmp_path / "model.zip")], tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epochs = 4", f"epochs = {10**400}", "epochs"),
        ("rate = 0.01", "rate = inf", "rate"),
        ("epochs = 4", "epoch = 4", "epoch"),
        ('2 = "corn"', '255 = "corn"', "255"),
        ("size = 32", 'size = "32"', "size"),
        ("[split]", "[splits]", "splits"),
    ],
)
def test_recipe_with_a_wrong_key(old, new, words, tmp_path, capfd):
    (tmp_path / "recipe.toml").write_text(RECIPE.replace(old, new, 1))
    line = refused(capfd, ["train", str(tmp_path / "recipe.toml"), "-o", str(tmp_path / "out")], tmp_path)
    assert "recipe.toml" in line
    assert words in line


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "memory ran out (MemoryError)"),
        (RuntimeError("can't start new thread"), "memory ran out (can't start new thread)"),
        (OSError(errno.ENOSPC, "No space left on device", "out.gpkg"), "the disk is full ([Errno 28]"),
    ],
)
def test_shortage_of_the_machine(error, words, good, tmp_path, capfd, monkeypatch):
    def short(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("geoseg.verbs.polygonize.open_class_map", short)
    command, *_ = words_of("polygonize GOOD/map.tif -o OUT.gpkg", good, tmp_path, "missing")
    assert words in refused(capfd, command, tmp_path, good, code=1)


def test_reason_of_gdal_that_is_no_text(good, tmp_path, capfd, monkeypatch):
    def puzzled(*_: object, **__: object) -> None:
        raise UnicodeDecodeError("utf-8", b"no such table: \xff", 15, 16, "invalid start byte")

    monkeypatch.setattr(rasterio, "open", puzzled)
    command, *_ = words_of("inspect GOOD/scene.tif --model GOOD/model", good, tmp_path, "missing")
    assert "scene.tif" in refused(capfd, command, tmp_path, good)
