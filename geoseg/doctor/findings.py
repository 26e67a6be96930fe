"""What the input doctor looks at, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.scene import Band, BandMatch

if TYPE_CHECKING:
    from geoseg.models.card import ModelBand

Severity = Literal["stop", "warn", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth knowing, about a scene for a model.

    Attributes:
        severity: "stop": the map would surely be junk; "warn": it may be worse; "note": nothing is wrong.
        code: Short name that programs can rely on.
        message: What is the matter, with the numbers measured.
        mend: What to do: a flag of ``geoseg predict``, or a command to run first; may be empty for a note.
        brief: Why the model does not fit, in a few words that follow its name; may be empty.
    """

    severity: Severity
    code: str
    message: str
    mend: str = ""
    brief: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings on a scene for a model, the gravest first.

    Attributes:
        findings: What was found.
        match: The bands to use; None where the scene lacks some, which no ``--force`` can mend.
    """

    findings: tuple[Finding, ...]
    match: BandMatch | None

    @property
    def fits(self) -> bool:
        """Whether nothing stops a run."""
        return all(finding.severity != "stop" for finding in self.findings)


@dataclass(frozen=True)
class BandValues:
    """Sampled valid values of one band.

    Attributes:
        band: The scene's band.
        wanted: What the model knows of it.
        stored: (pixels,) as in the file, without nodata and undeclared fill.
    """

    band: Band
    wanted: ModelBand
    stored: NDArray[np.generic]

    def scaled(self, scale: float, offset: float) -> NDArray[np.float64]:
        """Physical values under another scale and offset."""
        values: NDArray[np.float64] = self.stored.astype(np.float64) * scale + offset
        return values

    def now(self) -> NDArray[np.float64]:
        """Physical values as the scene is opened."""
        return self.scaled(self.band.scale, self.band.offset)
