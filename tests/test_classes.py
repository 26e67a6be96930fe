from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import ModelError
from geoseg.models import check_class_ids, remap_class_ids


@given(st.sets(st.integers(-10, 1000), min_size=1, max_size=255))
def test_remapped_ids_fit_and_stay_apart(ids):
    mapping = remap_class_ids(ids)
    new = [mapping.get(value, value) for value in ids]
    assert len(set(new)) == len(ids)
    check_class_ids(new)
    assert set(mapping) == {value for value in ids if not 0 <= value <= 254}


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([1, 300, 1000], "300 -> 0, 1000 -> 2"),
        ([0, 255], "255 -> 1"),
        ([-1, 0], "-1 -> 1"),
        ([1, 1, 2], "a second 1 -> 0"),
        ([True], "True"),
        ([1.5], "1.5"),
    ],
)
def test_wrong_ids_are_refused_with_the_remapping(ids, words):
    with pytest.raises(ModelError, match="class id") as caught:
        check_class_ids(ids)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_classes_than_a_map_holds():
    with pytest.raises(ModelError, match="256 classes"):
        remap_class_ids(range(256))
    assert remap_class_ids(range(255)) == {}
