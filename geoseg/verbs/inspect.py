"""``geoseg inspect``: does this scene fit this model, and what to do if not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from geoseg.doctor.choose_model import Candidate, examine_bundled, reason_for, ways_out
from geoseg.doctor.examine import examine
from geoseg.doctor.findings import Diagnosis
from geoseg.models.card import ModelCard
from geoseg.models.package import load_card
from geoseg.plan.prepare import PathLike, of_date
from geoseg.scene.opening import SceneOptions
from geoseg.scene.scene import Scene

_SIGNS = {"stop": "STOP", "warn": "warning", "note": "note"}


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        scene: The scene.
        card: The card of the model; where none was named, of the bundled one that fits best.
        diagnosis: The findings, and which bands would be used.
        candidates: The bundled models, the best first, where none was named; else empty.
    """

    scene: Scene
    card: ModelCard
    diagnosis: Diagnosis
    candidates: tuple[Candidate, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether predict would run without ``--force``."""
        return self.candidates[0].fits if self.candidates else self.diagnosis.fits

    def text(self) -> str:
        """The inspection as a person reads it."""
        lines = self._scene_lines()
        if self.candidates and not self.fits:
            for candidate in self.candidates:
                lines += self._model_lines(candidate.card, candidate.diagnosis)
            lines.append(f"{self.scene.name} fits no bundled model: {ways_out(self.scene, self.candidates)}")
            return "\n".join(lines)
        lines += self._model_lines(self.card, self.diagnosis)
        if self.candidates:
            lines.append(f"chosen    {reason_for(self.scene, self.candidates)}")
        verdict = "fits" if self.fits else "does not fit"
        lines.append(f"{self.scene.name} {verdict} {self.card.name}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The inspection as JSON values; ``models`` are the named one, or the bundled ones, best first."""
        examined = [(each.card, each.diagnosis, each.fits) for each in self.candidates]
        return {
            "scene": self._scene_json(),
            "fits": self.fits,
            "model": self.card.name if self.fits else None,
            "models": [
                self._model_json(*each) for each in examined or [(self.card, self.diagnosis, self.fits)]
            ],
            "verdict": self.text().splitlines()[-1],
        }

    def _scene_json(self) -> dict[str, Any]:
        scene = self.scene
        crs = scene.georeference.crs
        return {
            "name": scene.name,
            "paths": list(scene.paths),
            "shape": list(scene.shape),
            "gsd": scene.gsd,
            "crs": None if crs is None else crs.to_string(),
            "bands": [
                {
                    "number": band.number,
                    "name": band.name,
                    "common_name": band.common_name,
                    "dtype": band.dtype,
                }
                for band in scene.bands
            ],
            "date": scene.date,
            "left_out": [omission.as_json() for omission in scene.omissions],
        }

    def _model_json(self, card: ModelCard, diagnosis: Diagnosis, fits: bool) -> dict[str, Any]:
        match = diagnosis.match
        return {
            "name": card.name,
            "version": card.version,
            "fits": fits,
            "bands": None if match is None else dict(zip(card.band_names, match.numbers, strict=True)),
            "values": None if diagnosis.values is None else diagnosis.values.flags(),
            "findings": [
                {
                    "severity": finding.severity,
                    "code": finding.code,
                    "message": finding.message,
                    "fix": finding.fix or None,
                }
                for finding in diagnosis.findings
            ],
        }

    def _model_lines(self, card: ModelCard, diagnosis: Diagnosis) -> list[str]:
        lines = [f"model     {card.name}: {card.summary}".rstrip(": ")]
        if diagnosis.match is not None:
            bands = {band.number: band for band in self.scene.bands}
            pairs = zip(card.band_names, diagnosis.match.numbers, strict=True)
            lines.append("uses      " + ", ".join(f"{name} = {bands.get(n, n)}" for name, n in pairs))
        if diagnosis.values is not None:
            flags = diagnosis.values.flags().items()
            lines.append("values    " + " ".join(f"--{name} {value}" for name, value in flags))
        for finding in diagnosis.findings:
            lines.append(f"{_SIGNS[finding.severity]}: {finding.message}")
            if finding.fix:
                lines.append(f"    {finding.fix}")
        return lines

    def _scene_lines(self) -> list[str]:
        scene = self.scene
        crs = scene.georeference.crs
        gsd = "unknown size" if scene.gsd is None else f"{scene.gsd:.3g} m"
        return [
            f"scene     {', '.join(scene.paths)}",
            f"pixels    {scene.shape[0]} rows x {scene.shape[1]} columns of {gsd}",
            f"CRS       {'none' if crs is None else crs.to_string()}",
            f"bands     {', '.join(f'{band} {band.dtype}' for band in scene.bands)}",
            f"date      {scene.date or 'unknown'}",
            *(f"warning: {omission}" for omission in scene.omissions),
        ]


def inspect(
    scene: PathLike | Sequence[PathLike],
    *,
    model: PathLike | None = None,
    bands: Sequence[str | int] | None = None,
    nodata: float | None = None,
    scale: float | str | None = None,
    offset: float | None = None,
    atmosphere: str = "auto",
    warp: bool = False,
    date: str | None = None,
) -> Inspection:
    """Examine a scene as ``geoseg.predict`` would, without running the network.

    Args:
        scene: A raster by path or URL, or several that are one scene.

        **Input**
        model: A bundled model's name or a model package; default the bundled model that fits.
        bands: The scene's bands in the model's order.
        nodata: Stored value that means nodata.
        scale: As for ``geoseg.predict``.
        offset: As for ``geoseg.predict``.
        atmosphere: As for ``geoseg.predict``.
        warp: Bring the scene to a regular north-up grid first.
        date: Acquisition date, ``YYYY-MM-DD``; default what the scene says.

    Returns:
        The findings; ``fits`` says whether predict would run.

    Raises:
        InputError: If the scene or the model cannot be opened.
    """
    card = None if model is None else load_card(model)
    reading = SceneOptions(
        bands=bands, nodata=nodata, scale=scale, offset=offset, atmosphere=atmosphere, warp=warp
    )
    opened = of_date(reading.open_all_bands(scene), date)
    if card is not None:
        return Inspection(opened, card, examine(opened, card, bands=bands))
    candidates = examine_bundled(opened, bands=bands)
    return Inspection(opened, candidates[0].card, candidates[0].diagnosis, candidates)
