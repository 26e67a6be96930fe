from __future__ import annotations

import pytest

from geoseg.errors import SettingsError
from geoseg.units import AreaLimit, parse_area


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("0.5ha", AreaLimit(0.5, False)),
        ("450m2", AreaLimit(0.045, False)),
        ("450 m²", AreaLimit(0.045, False)),
        ("2km2", AreaLimit(200.0, False)),
        ("20px", AreaLimit(20.0, True)),
        (" 1e-1 ha ", AreaLimit(0.1, False)),
        ("3", AreaLimit(3.0, False)),
        (0.25, AreaLimit(0.25, False)),
        (0, AreaLimit(0.0, False)),
    ],
)
def test_areas_as_people_write_them(text, limit):
    read = parse_area(text)
    assert read.amount == pytest.approx(limit.amount)
    assert read.in_pixels is limit.in_pixels


@pytest.mark.parametrize("text", ["", "ha", "-1ha", "5 acres", "1..2ha", "nan", "0.5 ha 3", float("inf")])
def test_other_texts_are_refused_with_examples(text):
    with pytest.raises(SettingsError, match=r"0\.5ha, 450m2 or 20px"):
        parse_area(text)
