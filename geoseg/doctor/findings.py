"""Findings of the input doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from geoseg.doctor.stored_values import StoredValues
from geoseg.scene.match import BandMatch
from geoseg.scene.scene import Scene

Severity = Literal["stop", "warn", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding on a scene for a model.

    Attributes:
        severity: "stop": the map would be useless; "warn": it may be worse; "note": for information.
        code: Short name that programs can rely on.
        message: What was found, with the numbers measured.
        fix: What to do: an option of ``geoseg predict``, or a command to run first; may be empty for a note.
        brief: Why the model does not fit, in a few words that follow its name; may be empty.
    """

    severity: Severity
    code: str
    message: str
    fix: str = ""
    brief: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings on a scene for a model, the gravest first.

    Attributes:
        findings: The findings.
        match: The bands to use; None where the scene lacks some, which ``--force`` cannot fix.
        scene: The scene with all its bands, read as was decided.
        values: What was decided about its values; None where it lacks bands.
    """

    findings: tuple[Finding, ...]
    match: BandMatch | None
    scene: Scene
    values: StoredValues | None

    @property
    def fits(self) -> bool:
        """Whether nothing stops a run."""
        return all(finding.severity != "stop" for finding in self.findings)
