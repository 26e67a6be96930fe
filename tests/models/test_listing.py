"""The list of models: bundled, cached and in folders, as a table of 100 columns and as JSON."""

from __future__ import annotations

import json
import shutil

import huggingface_hub.constants
import pytest

from geoseg.cli import run
from geoseg.errors import ModelError
from geoseg.models.listing import list_models, table
from tests.doctor.bundles import CROPS, PICTURES, put_card


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put_cached(hub, name, revision, package, ref="main"):
    """A package as the hub's client keeps it."""
    repository = hub / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / revision
    shutil.copytree(package, snapshot)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "blobs").mkdir(exist_ok=True)
    (repository / "refs" / ref).write_text(revision)
    return snapshot


@pytest.fixture
def bundled(empty, hub):
    assert not hub.exists()
    put_card(empty, PICTURES, license="CC-BY-4.0", metrics={"miou": 0.52})
    put_card(
        empty,
        CROPS,
        region=[-101, 45, -96, 50],
        region_name="North Dakota and around",
        months=[8, 9],
        gsd_range=[10, 30],
    )
    return empty


@pytest.mark.usefixtures("bundled")
def test_the_table(capsys):
    assert run(["models", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "name                  bands               pixels      classes  region, season    licence     mIoU",
        "",
        "Bundled",
        "crops                 blue, green, red,   10 to 30 m  3        North Dakota and  not stated  -",
        "                      nir, swir16,                             around, August",
        "                      swir22                                   and September",
        "pictures              red, green, blue    about 1 m   3        any               CC-BY-4.0   0.520",
    ]


@pytest.mark.usefixtures("bundled")
def test_json_says_all_of_it(capsys):
    assert run(["models", "list", "--json"]) == 0
    crops, pictures = json.loads(capsys.readouterr().out)
    assert (crops["ref"], crops["source"], crops["region"]) == ("crops", "bundled", [[-101, 45, -96, 50]])
    assert (crops["region_name"], crops["months"]) == ("North Dakota and around", [8, 9])
    assert crops["gsd_range"] == [10, 30]
    assert (pictures["region"], pictures["months"], pictures["gsd_range"]) == (None, [], None)


@pytest.mark.usefixtures("bundled")
def test_cached_ones_and_those_in_folders(hub, tmp_path, tiny_model, capsys):
    put_cached(hub, "someone/fields", "a" * 40, tiny_model)
    put_cached(hub, "someone/fields", "b" * 40, tiny_model, ref="v2")
    put_card(tmp_path / "mine", PICTURES, name="alps")
    put_card(tmp_path / "mine", CROPS, name="andes")
    models, unread = list_models([tmp_path / "mine", tiny_model])
    mine = str(tmp_path / "mine")
    assert unread == []
    assert [(model.ref, model.source) for model in models] == [
        ("crops", "bundled"),
        ("pictures", "bundled"),
        ("hf://someone/fields", "cached"),
        ("hf://someone/fields@v2", "cached"),
        (f"{mine}/alps", mine),
        (f"{mine}/andes", mine),
        (str(tiny_model), str(tiny_model)),
    ]
    lines = table(models).splitlines()
    for line in (
        "Cached, from the Hugging Face Hub",
        "hf://someone/fields   red, nir",
        f"In {mine}",
        "alps  ",
    ):
        assert [shown for shown in lines if shown.startswith(line)], line
    assert run(["models", "list", mine]) == 0
    assert "andes" in capsys.readouterr().out


@pytest.mark.usefixtures("bundled")
def test_what_of_the_cache_cannot_be_read_is_said(hub, tiny_model, capsys):
    snapshot = put_cached(hub, "someone/fields", "a" * 40, tiny_model)
    (snapshot / "mlm.json").write_text("{}")
    assert run(["models", "list"]) == 0
    shown = capsys.readouterr()
    assert "fields" not in shown.out
    assert shown.err.startswith(
        "geoseg: warning: hf://someone/fields is in the cache, and is not listed: hf:"
    )
    assert shown.err.count("\n") == 1


@pytest.mark.usefixtures("bundled")
def test_a_folder_without_packages_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="empty holds no model package; give a package, or a folder of"):
        list_models([tmp_path / "empty"])
    with pytest.raises(ModelError, match="there is no model package at"):
        list_models([tmp_path / "none.d"])


@pytest.mark.usefixtures("bundled")
def test_no_line_is_longer_than_100(empty):
    name = "a-model-with-a-name-that-is-much-longer-than-its-column"
    put_card(
        empty,
        CROPS,
        name=name,
        license="Licence of somebody's own",
        region_name="w" * 90,
        region=[0, 0, 1, 1],
    )
    lines = table(list_models()[0]).splitlines()
    assert max(map(len, lines)) <= 100
    assert "".join(line[:20].strip() for line in lines).count(name) == 1
