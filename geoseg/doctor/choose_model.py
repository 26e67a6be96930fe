"""Choose the model for a scene: the one that the user named, else the bundled one that fits.

The doctor examines every bundled model from its card and one sample of the scene's pixels; no weights are
read. A model fits if no finding stops it and its pixel size is not known to differ by more than a factor of
4. Of several that fit, the one with the fewest warnings is chosen, then the one with the closest pixel size,
then the first by name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf, isinf

from geoseg.doctor.bands import EXPAND, has_palette
from geoseg.doctor.examination import Examination
from geoseg.doctor.examine import diagnose, examine
from geoseg.doctor.findings import Diagnosis, Finding
from geoseg.doctor.pixel_size import GSD_STOP, gsd_ratio
from geoseg.errors import MismatchError, ModelError
from geoseg.models.card import ModelCard
from geoseg.models.package import load_card
from geoseg.models.sources import bundled_models
from geoseg.scene.match import resolve
from geoseg.scene.sample import Sampler
from geoseg.scene.scene import Scene

PathLike = str | os.PathLike[str]
_ABOUT_VALUES = {"value-range", "picture-type", "no-valid-pixel", "band-empty", "band-scale"}


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The model chosen for a scene.

    Attributes:
        model: Reference to load: a bundled model's name, or what the user named.
        card: Its card.
        diagnosis: The doctor's findings on the scene for this model.
        reason: Why it was chosen, in one line; None where the user named it.
    """

    model: PathLike
    card: ModelCard
    diagnosis: Diagnosis
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A bundled model that was examined for a scene.

    Attributes:
        name: Its name.
        card: Its card.
        diagnosis: The doctor's findings on the scene for this model.
        gsd_ratio: Ratio of the pixel sizes, at least 1; infinite where one is unknown.
    """

    name: str
    card: ModelCard
    diagnosis: Diagnosis
    gsd_ratio: float

    @property
    def fits(self) -> bool:
        """Whether it may be chosen without being named."""
        return not self.obstacles

    @property
    def obstacles(self) -> tuple[Finding, ...]:
        """The findings that rule it out: those that stop it, else a very different pixel size."""
        findings = self.diagnosis.findings
        stops = tuple(finding for finding in findings if finding.severity == "stop")
        is_far = GSD_STOP < self.gsd_ratio < inf
        return stops or tuple(finding for finding in findings if finding.code == "gsd" and is_far)

    @property
    def warnings(self) -> int:
        """Number of findings that warn."""
        return sum(finding.severity == "warn" for finding in self.diagnosis.findings)

    @property
    def rank(self) -> tuple[bool, bool, int, int, float, str]:
        """Sort key of candidates, the best first."""
        has_bands = self.diagnosis.match is not None
        return (
            not self.fits,
            not has_bands,
            len(self.obstacles),
            self.warnings,
            self.gsd_ratio,
            self.name,
        )

    def why_not(self, *, fix: bool = False) -> str:
        """Explain why it does not fit: ``dubai-landcover reads 8-bit pictures, and the scene holds ...``.

        Args:
            fix: Whether to add the fixes, where the scene has its bands.
        """
        has_fix = fix and self.diagnosis.match is not None
        reasons = [
            (finding.brief or finding.message) + (f" ({finding.fix})" if has_fix and finding.fix else "")
            for finding in self.obstacles
        ]
        return f"{self.name} {' and '.join(reasons)}"


def choose_model(
    scene: Scene, model: PathLike | None, *, bands: Sequence[str | int] | None = None, force: bool = False
) -> ModelChoice:
    """Choose the model that was named, or the bundled one that fits the scene.

    Args:
        scene: The scene as predict would open it.
        model: The model that the user named, or None.
        bands: Bands that the user named with ``--bands``, or None.
        force: If none is named and none fits, choose the only one whose bands the scene has.

    Returns:
        The choice. A named model need not fit: see its diagnosis.

    Raises:
        MismatchError: If none is named and none fits, with the reason for each and what to do.
        ModelError: If the model cannot be found, or none is named and none is bundled.
    """
    if model is not None:
        card = load_card(model)
        return ModelChoice(model, card, examine(scene, card, bands=bands))
    candidates = examine_bundled(scene, bands=bands)
    best = candidates[0]
    if best.fits:
        return ModelChoice(best.name, best.card, best.diagnosis, reason_for(scene, candidates))
    if not force:
        raise MismatchError(refusal(scene, candidates))
    able = [candidate for candidate in candidates if candidate.diagnosis.match is not None]
    if len(able) != 1:
        raise MismatchError(_cannot_force(scene, candidates, able))
    reason = f"{best.name}: forced, as the only bundled model whose bands the scene has"
    return ModelChoice(best.name, best.card, best.diagnosis, reason)


def examine_bundled(scene: Scene, *, bands: Sequence[str | int] | None = None) -> tuple[Candidate, ...]:
    """Examine every bundled model for a scene, whose pixels are sampled once.

    Args:
        scene: The scene.
        bands: Bands that the user named with ``--bands``, or None.

    Returns:
        The bundled models, the best first.

    Raises:
        ModelError: If none is bundled.
        RunError: If the scene's pixels cannot be read.
        SceneError: If ``bands`` names one that the scene lacks.
    """
    if bands:
        resolve(scene, bands)
    begun = {name: Examination.begin(scene, load_card(name), bands) for name in bundled_models()}
    if not begun:
        raise ModelError("this installation has no bundled models; name one with --model")
    matches = [each.match for each in begun.values() if each.match is not None]
    read = sorted({number for match in matches for number in match.numbers})
    sampler = Sampler(scene.select(read)) if read else None
    found = [
        Candidate(name, each.card, diagnose(replace(each, sampler=sampler)), gsd_ratio(scene, each.card))
        for name, each in begun.items()
    ]
    return tuple(sorted(found, key=lambda candidate: candidate.rank))


def reason_for(scene: Scene, candidates: Sequence[Candidate]) -> str:
    """Explain in one line why the first candidate was chosen and the others were not."""
    best, *others = candidates
    why = [f"{best.name}: the scene has its bands ({', '.join(best.card.band_names)})"]
    if not {finding.code for finding in best.diagnosis.findings} & _ABOUT_VALUES:
        why.append(f"values like its {best.card.units}")
    if not isinf(best.gsd_ratio):
        about = "about " if best.card.gsd_estimated else ""
        why.append(f"pixels of {scene.gsd:.3g} m (trained at {about}{best.card.gsd:.3g} m)")
    return "; ".join([", ".join(why), *_why_not_these(best, others)])


def refusal(scene: Scene, candidates: Sequence[Candidate]) -> str:
    """Explain in one line why each bundled model does not fit, and what to do."""
    reasons = "; ".join(candidate.why_not(fix=True) for candidate in candidates)
    return f"{scene.name}: no bundled model fits: {reasons}; {ways_out(scene, candidates)}"


def ways_out(scene: Scene, candidates: Sequence[Candidate]) -> str:
    """List what a user can do if no bundled model fits."""
    able = [candidate.diagnosis.match is not None for candidate in candidates]
    ways = {
        EXPAND: has_palette(scene),
        "--bands says which band is which": any(
            candidate.diagnosis.match is None and len(scene.all_layers) >= len(candidate.card.bands)
            for candidate in candidates
        ),
        "--model NAME --force runs one all the same": any(able),
        "--model DIR takes a model of your own (geoseg train makes one)": True,
    }
    return ", ".join(way for way, helps in ways.items() if helps)


def _why_not_these(best: Candidate, others: Sequence[Candidate]) -> Iterator[str]:
    for other in others:
        if not other.fits:
            yield other.why_not()
        elif other.warnings > best.warnings:
            yield f"{other.name} fits with more warnings"
        elif other.gsd_ratio > best.gsd_ratio:
            yield f"{other.name} fits, but its pixel size differs more"
        else:
            yield f"{other.name} fits as well, and comes later by name"


def _cannot_force(scene: Scene, candidates: Sequence[Candidate], able: Sequence[Candidate]) -> str:
    if not able:
        return f"{refusal(scene, candidates)}; none can be forced without its bands"
    names = ", ".join(candidate.name for candidate in able)
    return (
        f"{scene.name}: no bundled model fits, and several could be forced ({names}): name one with --model"
    )
