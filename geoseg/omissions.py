"""What a run leaves out of its inputs: said, counted in the report, and refused if it is much.

The one mechanism behind the rule that nothing is left out silently. A reader that leaves something out puts
an ``Omission`` into the value it returns; a verb collects them and calls ``settle`` once, before it writes.
What a flag asks to leave out is no omission, nor what a product's own mask hides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from geoseg.errors import InputError
from geoseg.progress import Progress

Kind = Literal["rows", "pixels", "bands", "classes", "dates"]

LIMIT = 0.01
"""Share of a kind above which an omission stops a run that has no ``force``."""


@dataclass(frozen=True, slots=True)
class Omission:
    """Something that was asked for and is left out.

    Attributes:
        kind: What is left out, for programs.
        source: The file it is in.
        count: How many are left out, at least 1.
        total: Of how many.
        things: What they are, for people, as in "label polygons".
        reason: Why, as a sentence's end, as in "they have no area".
        fix: What to do about it; may be empty.
        refuses: Whether a share above ``LIMIT`` stops the run. False for what people do on purpose, such as
            labels that reach beyond a scene.
    """

    kind: Kind
    source: str
    count: int
    total: int
    things: str
    reason: str
    fix: str = ""
    refuses: bool = True

    @property
    def share(self) -> float:
        """The part that is left out, 0-1."""
        return self.count / self.total

    @property
    def is_too_large(self) -> bool:
        """Whether it stops a run that has no ``force``."""
        return self.refuses and self.share > LIMIT

    def __str__(self) -> str:
        """One line: where, how many, of how many, why, and what to do."""
        line = (
            f"{self.source}: {self.count:,} of {self.total:,} {self.things} left out "
            f"({_percent(self.share)}): {self.reason}"
        )
        return f"{line}; {self.fix}" if self.fix else line

    def as_json(self) -> dict[str, Any]:
        """The entry of a report's ``left_out``."""
        return {
            "kind": self.kind,
            "source": self.source,
            "count": self.count,
            "total": self.total,
            "things": self.things,
            "reason": self.reason,
            "line": str(self),
        }


def settle(omissions: Iterable[Omission], progress: Progress, *, force: bool = False) -> list[dict[str, Any]]:
    """Say every omission, and refuse the run if one of them is too large.

    Args:
        omissions: What is left out.
        progress: Told one line each.
        force: Go on whatever is left out.

    Returns:
        The report's ``left_out``: an entry each.

    Raises:
        InputError: If a share above ``LIMIT`` is left out and ``force`` is not given. The message names the
            first of them; all were said.
    """
    found = [omission for omission in omissions if omission.count]
    too_large = [] if force else [omission for omission in found if omission.is_too_large]
    for omission in found:
        if omission not in too_large[:1]:
            progress.say(f"warning: {omission}")
    if too_large:
        raise InputError(f"{too_large[0]}; --force goes on without them")
    return [omission.as_json() for omission in found]


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.2g} %" if percent < 1 else f"{percent:.1f} %"
