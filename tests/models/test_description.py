from __future__ import annotations

import pytest

from geoseg.errors import ModelError
from geoseg.models import ModelBand, describe
from tests.conftest import tiny_card


def test_everything_a_user_needs_is_said():
    text = describe(
        tiny_card(
            summary="Crops of the plains.",
            bands=(ModelBand("nir08", 0.31, 0.07, 0.02, 0.6),),
            classes=tiny_card().classes,
            architecture="unet",
            encoder="resnet18",
            value_offset=-0.1,
            temperatures={"none": 1.25},
            metrics={"split": "held-out blocks", "accuracy": 0.80712, "iou": {"corn": 0.9, "water": None}},
            baseline={"accuracy": 0.75},
            trust="Not outside of Dakota.",
            citation="USDA (2020)",
        )
    )
    for words in (
        "tiny 1.0.0",
        "Crops of the plains.",
        "unet with encoder resnet18",
        "10 m",
        "64 pixels, overlapping by 16",
        "nir08  0.31  0.07  0.02   0.6",
        "stored value x 0.0001 - 0.1",
        "2  #ffd300  corn",
        "split: held-out blocks",
        "accuracy: 0.807",
        "corn: 0.900",
        "water: unknown",
        "accuracy: 0.750",
        "1.25 (none)",
        "Not outside of Dakota.",
        "Apache-2.0",
        "USDA (2020)",
    ):
        assert words in text


def test_what_is_not_known_is_admitted():
    text = describe(tiny_card(gsd=None))
    assert "does not say how good" in text
    assert "not calibrated" in text
    assert "Pixel size    unknown" in text


def test_an_estimated_pixel_size_is_called_one():
    text = describe(tiny_card(gsd=1.0, gsd_estimated=True))
    assert "Pixel size    about 1 m, estimated from what the training scenes show" in text
    assert "about" not in describe(tiny_card(gsd=1.0))


def test_region_and_season_in_plain_words():
    text = describe(
        tiny_card(region=[-101, 45, -96, 50], region_name="North Dakota and around", months=[8, 9])
    )
    assert "Region        North Dakota and around: 45 to 50 N, 96 to 101 W\n" in text
    assert "Season        August and September\n" in text
    assert "Pixel size    10 m\n" in text
    text = describe(tiny_card(gsd_range=[10, 30], region=[[0, 1, 2, 3]]))
    assert "Pixel size    10 to 30 m, trained at 10 m\nRegion        1 to 3 N, 0 to 2 E\nChips" in text
    for word in ("Region", "Season"):
        assert word not in describe(tiny_card())


def test_a_name_needs_a_region():
    with pytest.raises(ModelError, match="`region_name` names a region, but there is no `region`"):
        tiny_card(region_name="Dakota")


def test_lines_are_readable():
    text = describe(tiny_card(trust="word " * 100, summary="word " * 100, metrics={"split": "word " * 100}))
    assert max(map(len, text.splitlines())) <= 100
    assert not text.endswith("\n")


def test_intervals_stand_behind_their_figures():
    metrics = {
        "accuracy": 0.8,
        "accuracy_interval": [0.75, 0.8449],
        "ece": 0.02,
        "alone_interval": [1.0, 2.0],
    }
    lines = [line.strip() for line in describe(tiny_card(metrics=metrics)).splitlines()]
    assert "accuracy: 0.800 (95 % interval 0.750 to 0.845)" in lines
    assert "ece: 0.020" in lines
    assert not any(line.startswith("accuracy interval") for line in lines)
    assert "alone interval: 1.000, 2.000" in lines
