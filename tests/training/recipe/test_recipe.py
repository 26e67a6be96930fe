"""Recipes: the smallest one, the example, and one clear line for everything that is wrong."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import SettingsError
from geoseg.training.recipe.example import example
from geoseg.training.recipe.recipe import TABLES, load_recipe
from geoseg.training.recipe.settings import SplitSettings
from geoseg.training.recipe.tables import RecipePlace, read_table

SMALLEST = (
    'scenes = "a.tif"\nlabels = "b.gpkg"\n[classes]\n7 = "grass"\n2 = { name = "corn", color = "#ffd300" }\n'
)


@pytest.fixture
def recipe(tmp_path):
    def load(text=SMALLEST, more=""):
        path = tmp_path / "crops.toml"
        path.write_text(text + more)
        return load_recipe(path)

    return load


def test_the_smallest_recipe_names_scenes_labels_and_classes(recipe, tmp_path):
    loaded = recipe()
    assert loaded.name == "crops"
    assert loaded.scenes == ((str(tmp_path / "a.tif"),),)
    assert loaded.labels == (str(tmp_path / "b.gpkg"),)
    assert [(c.id, c.name) for c in loaded.classes] == [(2, "corn"), (7, "grass")]
    assert loaded.classes[0].color == "#ffd300"
    assert loaded.bands is None


def test_a_recipe_says_where_the_model_is_for(recipe):
    model = recipe(
        more="[model]\nregion = [-101, 45, -96, 50]\nmonths = [8, 9]\ngsd_range = [10, 30]\n"
    ).model
    assert (model.region, model.months, model.gsd_range) == ([-101, 45, -96, 50], (8, 9), (10, 30))
    polygon = '{ type = "Polygon", coordinates = [[[0, 0], [1, 0], [1, 1], [0, 0]]] }'
    assert recipe(more=f"[model]\nregion = {polygon}\n").model.region["type"] == "Polygon"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("region = [0, 50, 9, 45]", r"\[model\] `region` reaches from 50 to 45 degrees north"),
        ("months = [13]", r"\[model\] months is 13; it must be a whole number from 1 to 12"),
        ("months = [8, 8]", "`months` holds 8 twice"),
        ("gsd_range = [30]", "`gsd_range`"),
        ('region_name = "Here"', "there is no region"),
    ],
)
def test_a_region_that_is_none_is_named_before_anything_is_trained(recipe, line, said):
    with pytest.raises(SettingsError, match=said):
        recipe(more=f"[model]\n{line}\n")


def test_scenes_of_several_files_and_urls(recipe, tmp_path):
    text = SMALLEST.replace('"a.tif"', '[["b1.tif", "b2.tif"], "https://host/c.tif", "/vsizip/d.zip/e.tif"]')
    loaded = recipe(text.replace('"b.gpkg"', '["1.gpkg", "2.gpkg", "3.gpkg"]'))
    assert loaded.scenes[0] == (str(tmp_path / "b1.tif"), str(tmp_path / "b2.tif"))
    assert loaded.scenes[1:] == (("https://host/c.tif",), ("/vsizip/d.zip/e.tif",))


def test_the_example_validates_and_holds_the_defaults(recipe):
    shown, default = recipe(example()), recipe()
    for table in TABLES:
        assert getattr(shown, table) == getattr(default, table), table


def test_every_setting_is_in_the_example_and_explained():
    import dataclasses

    text = example()
    for name, cls in TABLES.items():
        section = text.split(f"\n[{name}]")[1].split("\n[")[0]
        for field in dataclasses.fields(cls):
            line = re.search(rf"^(# )?{field.name} = .*# (.+)$", section, re.MULTILINE)
            assert line, f"{name}.{field.name}"


def test_tables_are_read(recipe):
    more = """
[split]
block_size = "2km"
folds = 4
fold = 3
[loss]
terms = ["cross_entropy", { name = "tversky", weight = 2, alpha = 0.2 }]
[augment]
flips = false
rotation = true
scaling = { smallest = 0.5 }
"""
    loaded = recipe(more=more)
    assert (loaded.split.block_size, loaded.split.folds, loaded.split.fold) == ("2km", 4, 3)
    assert [term.name for term in loaded.loss.terms] == ["cross_entropy", "tversky"]
    assert isinstance(loaded.loss.terms[1].weight, float)
    assert loaded.augment.flips is None
    assert loaded.augment.rotation.degrees == 30
    assert (loaded.augment.scaling.smallest, loaded.augment.scaling.largest) == (0.5, 1.25)


def test_relative_paths_of_tables_belong_to_the_recipe(recipe, tmp_path):
    loaded = recipe(more='[split]\nmethod = "polygons"\npolygons = "folds.gpkg"\n')
    assert loaded.split.polygons == tmp_path / "folds.gpkg"
    assert isinstance(loaded.split, SplitSettings)


def test_what_is_started_from_may_lie_beside_the_recipe(recipe, tmp_path):
    (tmp_path / "base").mkdir()
    loaded = recipe(more='[transfer]\nstart_from = "base"\nencoder_weights = "imagenet"\n')
    assert loaded.transfer.start_from == str(tmp_path / "base")
    assert loaded.transfer.encoder_weights == "imagenet"
    assert recipe(more='[transfer]\nstart_from = "dakota-crops"\n').transfer.start_from == "dakota-crops"


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        ("[chips]\nsise = 3\n", ["[chips]", '"sise"', 'did you mean "size"', "batch_size"]),
        ("[chip]\nsize = 3\n", ['"chip"', 'did you mean "chips"']),
        ('[chips]\nsize = "big"\n', ["size", '"big"', "a whole number from 16 to 4096"]),
        ("[chips]\nsize = 8\n", ["size is 8", "from 16 to 4096"]),
        ("[chips]\nsize = 64.5\n", ["size is 64.5", "whole number"]),
        ("[chips]\nbatch_size = true\n", ["batch_size is true", "whole number"]),
        ("[run]\nrate = 0\n", ["rate is 0", "greater than 0"]),
        ("[run]\nrate = nan\n", ["rate is nan", "a number"]),
        ('[run]\naverage = "mean"\n', ["average", "ema, swa, none"]),
        ('[schedule]\nname = "cosin"\n', ['did you mean "cosine"', "one_cycle"]),
        ('[loss]\nterms = ["dise"]\n', ['did you mean "dice"', "lovasz"]),
        ("[loss]\nterms = []\n", ["terms", "at least one loss"]),
        ("[loss]\nterms = [{ weight = 1 }]\n", ["[loss.terms] name is missing", "lovasz"]),
        ('[loss]\nclass_weights = "manual"\n', ["manual", "needs"]),
        ('[loss]\nmanual = { "3" = 1.0 }\n', ['class "3"', "[2, 7]"]),
        ("[augment]\nflips = 3\n", ["flips is 3", "a table"]),
        ("[augment]\nflips = { chance = 2 }\n", ["[augment.flips] chance is 2", "from 0 to 1"]),
        ("[split]\nfolds = 3\nfold = 3\n", ["fold is 3", "0 to 2"]),
        ('[split]\nmethod = "polygons"\n', ["needs the key polygons"]),
        ('[split]\nvalidation_scenes = ["x"]\n', ['"x"', "the scenes are a"]),
        ('[model]\narchitecture = "unett"\n', ['did you mean "unet"', "[model]"]),
        ("[model]\nchip_size = 512\noverlap = 300\n", ["overlap is 300", "half of chip_size 512"]),
        ("[label_values]\nremap = { 5 = 9 }\n", ["remap sends 5 to 9", "[2, 7]"]),
        ("[label_values\n", ["is not TOML"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_the_file_and_the_key(recipe, tmp_path, more, parts):
    with pytest.raises(SettingsError) as caught:
        recipe(more=more)
    message = str(caught.value)
    assert str(tmp_path / "crops.toml") in message
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ('scenes = "a.tif"', "", "scenes is missing"),
        ('scenes = "a.tif"', 'scenes = ["a.tif", "c.tif"]', "one label file for each scene"),
        ('scenes = "a.tif"', "scenes = 3", "a list of files"),
        ('7 = "grass"', '300 = "grass"', "300"),
        ('7 = "grass"', 'grass = "grass"', 'such as 1 = "corn"'),
        ('7 = "grass"', '7 = { title = "grass" }', "color"),
        ('7 = "grass"\n', "", "at least two"),
        ("#ffd300", "yellow", "#rrggbb"),
    ],
)
def test_scenes_labels_and_classes_are_checked(recipe, old, new, part):
    with pytest.raises(SettingsError, match=re.escape(part)):
        recipe(SMALLEST.replace(old, new))


def test_a_missing_recipe_says_how_to_get_one(tmp_path):
    with pytest.raises(SettingsError, match="--example"):
        load_recipe(tmp_path / "none.toml")


def test_what_is_learnt_depends_on_settings_and_not_on_the_folder(recipe):
    first, second = recipe(), recipe(more="[run]\nepochs = 3\n")
    assert first.settings() == recipe().settings()
    assert first.settings() != second.settings()
    assert Path(first.path).name == "crops.toml"


def test_the_recipe_in_the_docs_validates(recipe):
    text = (Path(__file__).parents[3] / "docs" / "train.md").read_text()
    block = text.split("```toml\n")[1].split("```")[0]
    assert [c.name for c in recipe(block).classes] == ["corn", "soybeans", "grass"]
    for table in TABLES:
        assert f"`[{table}]`" in text, table


def test_a_recipe_is_read_without_torch(tmp_path):
    path = tmp_path / "crops.toml"
    path.write_text(SMALLEST)
    code = (
        "import sys; from geoseg.training.recipe.recipe import load_recipe; "
        "from geoseg.training.recipe.example import example; "
        f"load_recipe({str(path)!r}); example(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


SETTINGS = [(name, field.name) for name, table in TABLES.items() for field in dataclasses.fields(table)]
values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([10**400, -(2**70)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=60)
@given(st.sampled_from(SETTINGS), values)
def test_any_value_of_any_setting_is_taken_or_named(setting, value):
    name, key = setting
    try:
        taken = read_table(TABLES[name], {key: value}, RecipePlace(Path("crops.toml")).inside(name))
    except SettingsError:
        return
    assert isinstance(taken, TABLES[name])
