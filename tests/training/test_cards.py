"""The card of a trained model: the pixel size it states, and the sentence about it."""

from __future__ import annotations

import pytest
import rasterio

from geoseg.training.cards import make_card
from geoseg.training.network.transfer import StartedNetwork
from geoseg.training.prepare import prepare_fold
from geoseg.training.recipe.recipe import load_recipe
from tests.training.labelled_scenes import make_files

RECIPE = """
scenes = "scene.tif"
labels = "scene_labels.tif"
[classes]
2 = "corn"
5 = "grass"
7 = "water"
[split]
block_size = "40px"
folds = 3
buffer = "4px"
[chips]
size = 32
[model]
"""


@pytest.fixture
def card_of(tmp_path):
    def make(model, *, crs="EPSG:32614"):
        make_files(tmp_path)
        for path in (tmp_path / "scene.tif", tmp_path / "scene_labels.tif"):
            with rasterio.open(path, "r+") as raster:
                raster.crs = rasterio.CRS() if crs is None else crs
        (tmp_path / "crops.toml").write_text(RECIPE + model)
        prepared = prepare_fold(load_recipe(tmp_path / "crops.toml"))
        return make_card(prepared, StartedNetwork(None, "unet-classic", None, {}, ()))

    return make


@pytest.mark.parametrize(
    ("model", "crs", "gsd", "estimated"),
    [
        ("", "EPSG:32614", 10, False),
        ("gsd = 3.5", "EPSG:32614", 10, False),
        ("", None, None, False),
        ("gsd = 3.5", None, 3.5, True),
    ],
)
def test_the_recipes_pixel_size_counts_only_where_scenes_have_none(card_of, model, crs, gsd, estimated):
    card = card_of(model, crs=crs)
    assert card.gsd == (gsd if gsd is None else pytest.approx(gsd, rel=1e-3))
    assert card.gsd_estimated is estimated


def test_the_sentence_about_it(card_of):
    assert card_of('summary = "Crops of the plains."').summary == "Crops of the plains."
    assert card_of("").summary == "3 classes from 2 bands."


@pytest.mark.parametrize(
    ("reading", "units"),
    [
        ("", "reflectance"),
        ("[reading]\nscale = 1\n", "digital numbers"),
        ('[reading]\nunits = "radiance"\n', "radiance"),
    ],
)
def test_the_card_says_what_values_are_by_their_range(card_of, reading, units):
    assert card_of(reading).units == units
