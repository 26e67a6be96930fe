"""What a run leaves out is said, counted, and refused when it is much."""

from __future__ import annotations

import pytest

from geoseg.errors import InputError
from geoseg.omissions import Omission, settle
from geoseg.progress import Silent


class Told(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def omission(count: int, *, refuses: bool = True) -> Omission:
    return Omission(
        "rows", "fields.gpkg", count, 1000, "label polygons", "they have no area", refuses=refuses
    )


def test_a_small_omission_is_said_and_counted() -> None:
    told = Told()
    entries = settle([omission(10), omission(0)], told)
    assert told.lines == [
        "warning: fields.gpkg: 10 of 1,000 label polygons left out (1.0 %): they have no area"
    ]
    assert entries == [
        {
            "kind": "rows",
            "source": "fields.gpkg",
            "count": 10,
            "total": 1000,
            "things": "label polygons",
            "reason": "they have no area",
            "line": told.lines[0].removeprefix("warning: "),
        }
    ]


def test_more_than_a_hundredth_is_refused_unless_forced_and_the_others_are_said() -> None:
    told = Told()
    with pytest.raises(InputError, match=r"fields.gpkg: 11 of 1,000 label polygons .*; --force goes on"):
        settle([omission(1), omission(11), omission(12)], told)
    assert len(told.lines) == 2
    assert len(settle([omission(1), omission(11)], told, force=True)) == 2
    assert len(told.lines) == 4


def test_what_people_do_on_purpose_is_never_refused() -> None:
    assert settle([omission(900, refuses=False)], Told())[0]["count"] == 900
