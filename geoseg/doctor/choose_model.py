"""Choose the model for a scene: the one that the user named, else the bundled one that fits.

The doctor examines every bundled model from its card and one sample of the scene's pixels; no weights are
read. A model fits if no finding stops it and its pixel size is not known to differ by more than a factor of
4. A special model, one that is for a region or for some months, fits only a scene that is known to lie in
that region and is not known to be of another month; elsewhere it is taken, with a warning, only if no
worldwide model reads the scene's bands.

Of several that fit, a special model comes first if the scene's pixels have a size that it is for. Then the
one with the fewest warnings is chosen, then the one with the closest pixel size, the one that reads most
bands, and the first by name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf, isinf

from geoseg.doctor.bands import EXPAND, has_palette
from geoseg.doctor.domain import OUTSIDE
from geoseg.doctor.examination import Examination
from geoseg.doctor.examine import diagnose, examine
from geoseg.doctor.findings import Diagnosis, Finding
from geoseg.doctor.pixel_size import GSD_STOP, gsd_ratio
from geoseg.errors import MismatchError, ModelError
from geoseg.models.card import ModelCard
from geoseg.models.package import load_card
from geoseg.models.region import months_in_words
from geoseg.models.sources import bundled_models
from geoseg.scene.match import resolve
from geoseg.scene.sample import Sampler
from geoseg.scene.scene import Scene

PathLike = str | os.PathLike[str]
_ABOUT_BANDS = {"band-empty", "band-scale"}
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
        is_replaceable: Whether a worldwide model reads the scene's bands, in the same units, so that this one
            need not be taken outside of its region or months.
    """

    name: str
    card: ModelCard
    diagnosis: Diagnosis
    gsd_ratio: float
    is_replaceable: bool = False

    @property
    def fits(self) -> bool:
        """Whether it may be chosen without being named."""
        return not self.obstacles

    @property
    def obstacles(self) -> tuple[Finding, ...]:
        """The findings that rule it out: those that stop it, else pixel size, place or season."""
        findings = self.diagnosis.findings
        stops = tuple(finding for finding in findings if finding.severity == "stop")
        ruled_out = {"gsd"} if GSD_STOP < self.gsd_ratio < inf else set()
        ruled_out |= OUTSIDE if self.is_replaceable else set()
        return stops or tuple(finding for finding in findings if finding.code in ruled_out)

    @property
    def outside(self) -> tuple[Finding, ...]:
        """The findings that say the scene lies outside of its region or months, or may do so."""
        return tuple(finding for finding in self.diagnosis.findings if finding.code in OUTSIDE)

    @property
    def precedence(self) -> int:
        """Which models come first among those that fit: special ones that are made for such a scene."""
        if not self.card.is_special:
            return 1
        codes = {finding.code for finding in self.diagnosis.findings}
        return 2 if codes & (OUTSIDE | {"gsd"}) else 0

    @property
    def warnings(self) -> int:
        """Number of findings that warn."""
        return sum(finding.severity == "warn" for finding in self.diagnosis.findings)

    @property
    def rank(self) -> tuple[bool, bool, int, int, int, float, int, str]:
        """Sort key of candidates, the best first."""
        has_bands = self.diagnosis.match is not None
        return (
            not self.fits,
            not has_bands,
            len(self.obstacles),
            self.precedence,
            self.warnings,
            self.gsd_ratio,
            -len(self.card.bands),
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
    able = [each.card for each in begun.values() if each.match is not None]
    worldwide = {card.units for card in able if not card.is_special}
    found = [
        Candidate(
            name,
            each.card,
            diagnose(replace(each, sampler=sampler, is_named=False)),
            gsd_ratio(scene, each.card),
            is_replaceable=each.card.units in worldwide,
        )
        for name, each in begun.items()
    ]
    best, *others = sorted(found, key=lambda candidate: candidate.rank)
    if best.fits:
        findings = (*best.diagnosis.findings, *_bands_in_doubt(best, others))
        best = replace(best, diagnosis=replace(best.diagnosis, findings=findings))
    return (best, *others)


def reason_for(scene: Scene, candidates: Sequence[Candidate]) -> str:
    """Explain in one line why the first candidate was chosen and the others were not."""
    best, *others = candidates
    card = best.card
    why = [f"{best.name}: the scene has its bands ({', '.join(card.band_names)})"]
    if not {finding.code for finding in best.diagnosis.findings} & _ABOUT_VALUES:
        why.append(f"values like its {card.units}")
    if not isinf(best.gsd_ratio):
        trained = "trained at" if card.gsd_range is None else "it is for"
        why.append(f"pixels of {scene.gsd:.3g} m ({trained} {card.gsd_in_words})")
    whole = [", ".join(why), *_why_here(scene, best)]
    return "; ".join([*whole, *_why_not_these(best, others)])


def _bands_in_doubt(best: Candidate, others: Sequence[Candidate]) -> Iterator[Finding]:
    """Warn if a model that reads more bands was ruled out by the values of some of them."""
    for other in others:
        doubts = [finding for finding in other.obstacles if finding.code in _ABOUT_BANDS]
        if doubts and set(other.card.band_names) > set(best.card.band_names):
            doubt = doubts[0]
            message = f"{doubt.message}; {best.name}, which does without, is taken instead of {other.name}"
            yield Finding("warn", "bands-unused", message, doubt.fix)
            return


def _why_here(scene: Scene, best: Candidate) -> Iterator[str]:
    """Explain why a special model was chosen."""
    card = best.card
    if not card.is_special:
        return
    if best.outside:
        reasons = " and ".join(finding.brief for finding in best.outside)
        yield f"it {reasons}, but no worldwide model reads these bands"
        return
    place = [f"lies in its region, {card.region_in_words}"] if card.region else []
    date = f"is of {scene.date}" if scene.date else "has no date"
    season = [f"{date} (it is for {months_in_words(card.months)})"] if card.months else []
    yield f"the scene {', and '.join(place + season)}"


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
            is_outside = other.obstacles == other.outside
            yield other.why_not() + (f" (--model {other.name} takes it all the same)" if is_outside else "")
        elif other.precedence > best.precedence:
            misfits = [each.brief for each in other.diagnosis.findings if each.code in OUTSIDE | {"gsd"}]
            yield f"{other.name} {' and '.join(misfits) if misfits else 'fits too, but is worldwide'}"
        elif other.warnings > best.warnings:
            yield f"{other.name} fits with more warnings"
        elif other.gsd_ratio > best.gsd_ratio:
            yield f"{other.name} fits, but its pixel size differs more"
        elif len(other.card.bands) < len(best.card.bands):
            yield f"{other.name} fits, but reads fewer bands"
        else:
            yield f"{other.name} fits as well, and comes later by name"


def _cannot_force(scene: Scene, candidates: Sequence[Candidate], able: Sequence[Candidate]) -> str:
    if not able:
        return f"{refusal(scene, candidates)}; none can be forced without its bands"
    names = ", ".join(candidate.name for candidate in able)
    return (
        f"{scene.name}: no bundled model fits, and several could be forced ({names}): name one with --model"
    )
