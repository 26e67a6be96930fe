"""`mlm.json`: card and item say the same, and the item is valid without a network."""

from __future__ import annotations

import copy
import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import ModelError
from geoseg.models import LandClass, ModelBand, ModelCard
from geoseg.models.mlm import card_from_item, item_from_card
from geoseg.scene.band_names import COMMON_NAMES
from tests.conftest import tiny_card
from tests.models.conftest import SCHEMAS

numbers = st.floats(-1e6, 1e6, allow_nan=False)
positive = st.floats(1e-6, 1e6)
words = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(str.strip)
texts = st.just("") | words
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | numbers | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
maps = st.dictionaries(words, plain, max_size=2)

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}


@st.composite
def cards(draw):
    names = draw(st.lists(st.sampled_from(sorted(COMMON_NAMES)) | words, min_size=1, max_size=4, unique=True))
    ids = sorted(draw(st.sets(st.integers(0, 254), min_size=1, max_size=4)))
    class_names = draw(st.lists(words, min_size=len(ids), max_size=len(ids), unique=True))
    color = st.text(string.hexdigits, min_size=6, max_size=6)
    low = draw(numbers)
    gsd = draw(st.none() | positive)
    chip_size = draw(st.integers(1, 2048))
    return ModelCard(
        name=draw(words),
        version=draw(words),
        summary=draw(texts),
        bands=tuple(ModelBand(name, draw(numbers), draw(positive), low, low + 1) for name in names),
        classes=tuple(
            LandClass(number, name, f"#{draw(color)}") for number, name in zip(ids, class_names, strict=True)
        ),
        units=draw(words),
        value_scale=draw(positive),
        value_offset=draw(numbers),
        gsd=gsd,
        gsd_estimated=gsd is not None and draw(st.booleans()),
        chip_size=chip_size,
        overlap=draw(st.integers(0, chip_size // 2)),
        gsd_range=draw(st.none() | st.tuples(positive, positive).map(sorted)),
        region=draw(st.sampled_from([None, (-101, 45, -96, 50), [(170, -5, -170, 5), (0, 0, 1, 1)], SQUARE])),
        months=draw(st.sets(st.integers(1, 12))),
        invalid_where=draw(st.sampled_from(["all", "any"])),
        temperatures=draw(st.dictionaries(words, positive, max_size=2)),
        architecture=draw(words),
        encoder=draw(st.none() | words),
        network=draw(maps),
        trained_on=draw(texts),
        license=draw(st.sampled_from(["", "Apache-2.0", "CC-BY-4.0", "other"]) | words),
        citation=draw(texts),
        metrics=draw(maps),
        baseline=draw(maps),
        trust=draw(texts),
    )


@settings(max_examples=60, deadline=None)
@given(card=cards())
def test_any_card_survives_the_round_trip_and_is_valid(validate, card):
    item = json.loads(json.dumps(item_from_card(card)))
    assert card_from_item(item) == card
    validate(item)


def test_a_model_without_a_region_has_no_keys_of_it():
    keys = {"geoseg:region", "geoseg:region_name", "geoseg:months", "geoseg:gsd_range"}
    assert keys.isdisjoint(item_from_card(tiny_card())["properties"])
    special = tiny_card(region=[0, 0, 1, 1], region_name="Here", months=[5], gsd_range=[10, 30])
    item = item_from_card(special)
    assert {key: item["properties"][key] for key in keys} == {
        "geoseg:region": [[0.0, 0.0, 1.0, 1.0]],
        "geoseg:region_name": "Here",
        "geoseg:months": [5],
        "geoseg:gsd_range": [10.0, 30.0],
    }
    assert card_from_item(item) == special


@pytest.mark.parametrize(
    ("key", "value"),
    [("region", "Dakota"), ("region", [0, 0, 1]), ("months", [0]), ("months", 8), ("gsd_range", [30, 10])],
)
def test_a_wrong_region_is_named(key, value):
    item = item_from_card(tiny_card())
    item["properties"][f"geoseg:{key}"] = value
    with pytest.raises(ModelError, match=f"`{key}`"):
        card_from_item(item)


def test_the_schemas_of_every_extension_were_used(validate):
    used = validate(item_from_card(tiny_card(citation="Someone (2020)")))
    assert used[0] == "https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json"
    extensions = {uri.removeprefix("https://stac-extensions.github.io/") for uri in used[1:]}
    assert extensions == {
        "mlm/v1.4.0/schema.json",
        "raster/v2.0.0/schema.json",
        "version/v1.2.0/schema.json",
        "eo/v2.0.0/schema.json",
        "scientific/v1.0.0/schema.json",
    }


def test_every_kept_schema_is_needed():
    """What MLM refers to is there, and nothing else is kept."""
    texts = [path.read_text() for path in sorted(SCHEMAS.glob("*.json"))]
    listed = item_from_card(tiny_card(citation="x"))["stac_extensions"]
    for text in texts:
        uri = json.loads(text)["$id"].rstrip("#")
        assert uri in listed or any(f'"$ref": "{uri}#' in other for other in texts), uri


BREAKS = {
    "a color the classification schema refuses": lambda p: p["mlm:output"][0]["classification:classes"][
        0
    ].update(color_hint="red"),
    "a data type the raster schema refuses": lambda p: p["mlm:input"][0]["input"].update(data_type="real"),
    "an expression the processing schema refuses": lambda p: p["mlm:input"][0].update(
        pre_processing_function={"format": 3}
    ),
    "an unknown task": lambda p: p.update({"mlm:tasks": ["mapping"]}),
    "an unknown field of the extension": lambda p: p.update({"mlm:overlap": 64}),
    "no architecture": lambda p: p.pop("mlm:architecture"),
    "bands that nothing describes": lambda p: p.pop("bands"),
    "a common name that does not exist": lambda p: p["bands"][0].update({"eo:common_name": "infrared"}),
    "a scale that is no number": lambda p: p["bands"][0].update({"raster:scale": "small"}),
    "no dates": lambda p: p.pop("start_datetime"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_item_is_not_valid(validate, name):
    from pystac.errors import STACValidationError

    item = item_from_card(tiny_card())
    validate(copy.deepcopy(item))
    BREAKS[name](item["properties"])
    with pytest.raises(STACValidationError):
        validate(item)


def test_a_schema_that_is_not_kept_is_not_fetched(validate):
    from pystac.validation.stac_validator import GetSchemaError

    item = item_from_card(tiny_card())
    item["stac_extensions"].append("https://stac-extensions.github.io/mlm/v1.3.0/schema.json")
    with pytest.raises(GetSchemaError, match=r"mlm/v1\.3\.0"):
        validate(item)


def set_at(*path, to):
    def change(item):
        for key in path[:-1]:
            item = item[key]
        item[path[-1]] = to

    return change


def drop(*path):
    def change(item):
        for key in path[:-1]:
            item = item[key]
        del item[path[-1]]

    return change


P = "properties"
IN = (P, "mlm:input", 0)
CLASSES = (P, "mlm:output", 0, "classification:classes")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop(P), "`properties"),
        (set_at("type", to="Collection"), "`type`"),
        (set_at("stac_extensions", to=[]), "`stac_extensions`"),
        (drop(P, "geoseg:chip_size"), "`properties.geoseg:chip_size` is missing"),
        (set_at(P, "geoseg:chip_size", to="big"), "`properties.geoseg:chip_size` is 'big'"),
        (set_at(P, "geoseg:overlap", to=True), "`properties.geoseg:overlap` is True"),
        (set_at(P, "geoseg:format", to=3), "newer than this geoseg reads"),
        (drop(P, "mlm:architecture"), "`properties.mlm:architecture` is missing"),
        (drop(P, "mlm:input"), "`properties.mlm:input` is missing"),
        (drop(*IN, "value_scaling"), "`properties.mlm:input[0].value_scaling` is missing"),
        (set_at(*IN, "value_scaling", to=[]), "has 0 entries for 2 bands"),
        (set_at(*IN, "value_scaling", 0, "type", to="min-max"), '"min-max"; only "z-score"'),
        (set_at(*IN, "value_scaling", 1, "stddev", to=0), 'band "nir" has std 0'),
        (set_at(*IN, "bands", 0, to="blue"), '"blue", which `properties.bands` does not describe'),
        (drop(P, "bands", 1, "geoseg:low"), "`properties.bands[1].geoseg:low` is missing"),
        (set_at(P, "bands", 1, "raster:scale", to=3), "`raster:scale`"),
        (set_at(P, "bands", 1, "unit", to="metres"), "mix the units"),
        (drop(*CLASSES, 0, "value"), "classes[0].value` is missing"),
        (set_at(*CLASSES, 0, "value", to=300), "300 -> 0"),
        (set_at(*CLASSES, 0, "value", to=5), "unique"),
        (set_at(*CLASSES, 0, "color_hint", to="zz"), "#zz"),
        (set_at(P, "geoseg:temperatures", to=[1]), "`properties.geoseg:temperatures`"),
    ],
)
def test_the_key_that_is_wrong_is_named(change, words):
    item = item_from_card(tiny_card())
    change(item)
    with pytest.raises(ModelError) as caught:
        card_from_item(item)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bands_may_be_objects_in_any_order():
    item = item_from_card(tiny_card())
    item[P]["bands"].reverse()
    item[P]["mlm:input"][0]["bands"] = [{"name": "red"}, {"name": "nir"}]
    assert card_from_item(item) == tiny_card()


def test_pystac_reads_what_the_extension_says():
    import pystac
    from pystac.extensions.mlm import MLMExtension

    item = pystac.Item.from_dict(item_from_card(tiny_card()))
    about = MLMExtension.ext(item)
    assert about.mlm_name == "tiny"
    assert about.architecture == "unet-classic"
    assert list(about.input[0].bands) == ["red", "nir"]
    assert [entry.value for entry in about.output[0].classes] == [2, 5, 7]


def places_in(value, place=()):
    """Every place in a JSON value."""
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places_in(inner, (*place, key))


ITEM = item_from_card(tiny_card())
anything = plain | st.sampled_from(
    [10**400, float("nan"), float("inf"), "\ud800", "../card", [[[]]], {"": None}]
)


@settings(max_examples=150)
@given(st.sampled_from([place for place in places_in(ITEM) if place]), anything)
def test_any_value_anywhere_gives_a_card_or_is_refused(place, value):
    item = copy.deepcopy(ITEM)
    inner = item
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    try:
        card = card_from_item(item)
    except ModelError:
        return
    assert isinstance(card, ModelCard)
