"""Lengths, areas and amounts of memory: what is understood, and that no verb takes one without a unit."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import geoseg
from geoseg.cli import main
from geoseg.errors import SettingsError
from geoseg.training.recipe.settings import SplitSettings
from geoseg.units import Area, Length, format_memory, parse_area, parse_length, parse_memory
from tests.conftest import make_scene
from tests.polygons.borders.test_options import write_map


@pytest.mark.parametrize(
    ("text", "area"),
    [
        ("0.5ha", Area(0.5, False)),
        ("450m2", Area(0.045, False)),
        ("450 m²", Area(0.045, False)),
        ("2km2", Area(200.0, False)),
        ("20px", Area(20.0, True)),
        (" 1e-1 ha ", Area(0.1, False)),
        ("0px", Area(0.0, True)),
    ],
)
def test_areas_are_understood(text, area):
    read = parse_area(text)
    assert read.amount == pytest.approx(area.amount)
    assert read.in_pixels is area.in_pixels
    assert parse_area(str(read)).amount == pytest.approx(read.amount)


@pytest.mark.parametrize(
    "text", ["", "ha", "-1ha", "5 acres", "1..2ha", "nan", "0.5 ha 3", "5m", float("inf")]
)
def test_other_areas_are_refused_with_examples(text):
    with pytest.raises(SettingsError, match=r"--sieve .* is not an area; write 0\.5ha, 450m2 or 20px"):
        parse_area(text, "--sieve")


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("3px", Length(3.0, True)),
        (" 0.5 px ", Length(0.5, True)),
        (" 30 m ", Length(30.0, False)),
        ("7.5km", Length(7500.0, False)),
        ("1e-2km", Length(10.0, False)),
    ],
)
def test_lengths_are_understood(text, length):
    assert parse_length(text) == length
    assert parse_length(str(length)) == length


@pytest.mark.parametrize("text", ["", "m", "-1px", "10 feet", "3 miles", "nan", "0.5ha", float("inf")])
def test_other_lengths_are_refused_with_examples(text):
    with pytest.raises(SettingsError, match=r"--blocks .* is not a length; write 2px, 10m or 7\.5km"):
        parse_length(text, "--blocks")


def test_a_length_is_more_than_nothing_unless_that_makes_sense():
    with pytest.raises(SettingsError, match="--simplify 0m: a length must be more than 0"):
        parse_length("0m", "--simplify")
    assert parse_length("0px", zero=True) == Length(0.0, True)


@pytest.mark.parametrize("number", ["20", " 20 ", 20, "0.5", 0.5, "1e3", 0])
def test_a_number_without_a_unit_is_refused_with_the_units_that_there_are(number):
    shown = str(number).strip()
    with pytest.raises(
        SettingsError, match=f"^{shown}: give a unit, as in {shown}px, {shown}m or {shown}km$"
    ):
        parse_length(number)
    expected = f"^--sieve {shown}: give a unit, as in {shown}px, {shown}ha or {shown}m2$"
    with pytest.raises(SettingsError, match=expected):
        parse_area(number, "--sieve")


LENGTHS_AND_AREAS = [
    ("polygonize", "--min-area", "min_area"),
    ("polygonize", "--sieve", "sieve"),
    ("polygonize", "--fill-holes", "fill_holes"),
    ("polygonize", "--simplify", "simplify"),
    ("predict", "--sieve", "sieve"),
    ("predict", "--fill-holes", "fill_holes"),
    ("predict", "--simplify", "simplify"),
    ("evaluate", "--blocks", "blocks"),
    ("evaluate", "--tolerance", "tolerances"),
]
"""Every option that takes a length or an area."""


@pytest.fixture(scope="module")
def call(tmp_path_factory, tiny_model):
    """Words and Python arguments of a small run of each verb."""
    folder = tmp_path_factory.mktemp("units")
    classes = write_map(folder / "map.tif", np.ones((20, 20), np.uint8))
    scene = make_scene(folder / "scene.tif")
    runs = {
        "polygonize": ((classes, folder / "out.gpkg"), [classes, "-o", folder / "out.gpkg"]),
        "predict": ((scene,), [scene, "--force"]),
        "evaluate": ((classes, classes), [classes, "--labels", classes]),
    }
    options = {"predict": {"model": tiny_model, "polygons": folder / "p.gpkg", "force": True}}
    words = {"predict": ["--model", tiny_model, "--polygons", folder / "p.gpkg"]}

    def both(verb):
        arguments, line = runs[verb]
        return arguments, options.get(verb, {}), [verb, *map(str, [*line, *words.get(verb, [])])]

    return both


@pytest.mark.parametrize(("verb", "option", "name"), LENGTHS_AND_AREAS)
@pytest.mark.parametrize("number", ["20", 20, 0.5])
def test_no_verb_takes_a_bare_number(call, verb, option, name, number, capsys):
    arguments, others, line = call(verb)
    value = [number] if name == "tolerances" else number
    expected = f"{option} {number}: give a unit, as in {number}px, {number}"
    with pytest.raises(SettingsError) as refused:
        getattr(geoseg, verb)(*arguments, **others, **{name: value})
    assert expected in str(refused.value)
    with pytest.raises(SystemExit) as ended:
        main([*line, option, str(number)])
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("key", ["block_size", "buffer"])
@pytest.mark.parametrize("number", ["20", 20])
def test_no_recipe_takes_a_bare_number(key, number):
    with pytest.raises(SettingsError, match=f"{key} 20: give a unit, as in 20px"):
        SplitSettings(**{key: number})


def test_the_signatures_take_texts():
    for verb, _, name in LENGTHS_AND_AREAS:
        hint = inspect.signature(getattr(geoseg, verb)).parameters[name].annotation
        assert "str" in hint, (verb, name)
        assert "float" not in hint, (verb, name)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GB", 4 * 10**9),
        ("2GiB", 2 * 2**30),
        ("500MB", 500 * 10**6),
        ("1.5 gib", 3 * 2**29),
        ("500M", 500 * 10**6),
        ("64kib", 2**16),
        ("123456", 123456),
        (2_000_000, 2_000_000),
    ],
)
def test_amounts_of_memory_are_understood(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "much", "-4GB", "4XB", "0", "0.0000001kB", "4iB", "4 G B", "GB"])
def test_other_amounts_of_memory_are_refused_with_how_to_write_them(text):
    with pytest.raises(SettingsError, match="4GB"):
        parse_memory(text)


@pytest.mark.parametrize(
    ("text", "meant"), [("8", "8GB"), (16, "16GB"), ("4000", "4000GB"), ("2.5", r"2\.5GB")]
)
def test_a_missing_unit_of_memory_is_asked_for(text, meant):
    with pytest.raises(SettingsError, match=rf"bytes; give the unit too, as in {meant}"):
        parse_memory(text)


def test_what_is_shown_of_memory_can_be_read_again():
    assert parse_memory(format_memory(1.234e9).replace(" ", "")) == pytest.approx(1.23e9)
    assert format_memory(310e6) == "310 MB"
