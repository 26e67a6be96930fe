"""Refine steps as options: parse them, write them into the map's tags, and create the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.classes import LandClass, class_ids, split_names
from geoseg.errors import SettingsError
from geoseg.raster.pixel_sizes import PixelSizes, measure_pixel_sizes
from geoseg.refine.holes import FillHoles
from geoseg.refine.sieve import Sieve
from geoseg.refine.step import Step
from geoseg.refine.survey import PatchSize
from geoseg.refine.windows import Close, Open, Smooth
from geoseg.scene.scene import Scene
from geoseg.units import parse_area

REFINE_TAG = "GEOSEG_REFINE"
"""Tag of maps that were refined: the steps, as ``Refinement.text`` writes them."""


@dataclass(frozen=True, kw_only=True)
class RefineOptions:
    """The refine options as the user gave them; None for each step that is not requested.

    Attributes:
        smooth: Side of the window in pixels, odd.
        opening: Classes and the side of the square, as in ``"corn,7:3"``.
        closing: Classes and the side of the square.
        fill_holes: Size below which holes are filled, as in ``"0.5ha"`` or ``"20px"``.
        sieve: Size below which patches are merged, as in ``"0.5ha"`` or ``"20px"``.
    """

    smooth: int | None = None
    opening: str | None = None
    closing: str | None = None
    fill_holes: str | None = None
    sieve: str | None = None

    def read(self, legend: Sequence[LandClass], where: str, *, only_these: bool = False) -> Refinement:
        """Parse the options.

        Args:
            legend: The named classes of the map.
            where: Name of the map or model, for messages.
            only_these: Whether the map holds no other classes.

        Raises:
            SettingsError: If a value is wrong.
        """

        def morphology(option: str, written: str | None) -> tuple[tuple[int, ...], int] | None:
            if written is None:
                return None
            classes, size = _split(option, written)
            return tuple(class_ids(split_names(classes, legend), legend, where, only_these=only_these)), size

        refinement = Refinement(
            smooth=None if self.smooth is None else _whole("--smooth", self.smooth),
            opening=morphology("--open", self.opening),
            closing=morphology("--close", self.closing),
            fill_holes=None if self.fill_holes is None else _size("--fill-holes", self.fill_holes),
            sieve=None if self.sieve is None else _size("--sieve", self.sieve),
        )
        Refinement(refinement.smooth, refinement.opening, refinement.closing).steps(None, 1)  # checks windows
        return refinement

    def read_for_scene(self, classes: Sequence[LandClass], model: str, scene: Scene) -> Refinement:
        """Parse the options for the map that a model with these classes makes of a scene, and check them.

        Raises:
            SettingsError: If a value is wrong, or cannot be used with this scene.
        """
        refinement, place = self.read(classes, model, only_these=True), scene.georeference
        refinement.steps(measure_pixel_sizes(place.crs, place.transform, scene.shape), scene.shape[1])
        return refinement


@dataclass(frozen=True)
class Refinement:
    """The requested refine steps, in the order in which they run.

    Attributes:
        smooth: Window of the majority filter, or None.
        opening: Class ids and the square's side, or None.
        closing: Class ids and the square's side, or None.
        fill_holes: Size below which holes are filled, as the user wrote it, or None.
        sieve: Size below which patches are merged, as the user wrote it, or None.
    """

    smooth: int | None = None
    opening: tuple[tuple[int, ...], int] | None = None
    closing: tuple[tuple[int, ...], int] | None = None
    fill_holes: str | None = None
    sieve: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the steps as JSON values."""

        def written(morphology: tuple[tuple[int, ...], int] | None) -> dict[str, Any] | None:
            return None if morphology is None else {"classes": list(morphology[0]), "size": morphology[1]}

        return vars(self) | {"opening": written(self.opening), "closing": written(self.closing)}

    def text(self, *, by_probability: bool) -> str:
        """Return the steps in one line, for the map's tags."""
        parts = []
        if self.smooth is not None:
            parts.append(f"smooth {self.smooth}")
        for name, morphology in (("open", self.opening), ("close", self.closing)):
            if morphology is not None:
                parts.append(f"{name} {','.join(map(str, morphology[0]))}:{morphology[1]}")
        if self.fill_holes is not None:
            parts.append(f"fill holes {self.fill_holes}")
        if self.sieve is not None:
            parts.append(f"sieve {self.sieve}")
        judged = self.opening is not None or self.sieve is not None
        return "; ".join([*parts, *(["by probability"] if judged and by_probability else [])])

    def steps(
        self,
        pixel_sizes: PixelSizes | None,
        width: int,
        *,
        bands: Sequence[int] = (),
        folder: Path | None = None,
    ) -> list[Step]:
        """Create the steps, in order.

        Args:
            pixel_sizes: Sizes of the map's pixels; None if the map has no areas.
            width: Columns of the map.
            bands: Class of each probability band, ascending; empty without probabilities.
            folder: Folder for temporary files.

        Raises:
            SettingsError: If a size is wrong, or is in hectares and the map has no areas.
        """
        known = tuple(int(value) for value in bands)
        steps: list[Step] = []
        if self.smooth is not None:
            steps.append(Smooth(self.smooth))
        if self.opening is not None:
            steps += [Open(value, self.opening[1], known) for value in self.opening[0]]
        if self.closing is not None:
            steps += [Close(value, self.closing[1]) for value in self.closing[0]]
        if self.fill_holes is not None:
            steps.append(FillHoles(_patch_size("--fill-holes", self.fill_holes, pixel_sizes, width), folder))
        if self.sieve is not None:
            steps.append(Sieve(_patch_size("--sieve", self.sieve, pixel_sizes, width), known, folder))
        return steps


def _size(option: str, value: str | float) -> str:
    parse_area(str(value), option)
    return "".join(str(value).split())


def _whole(option: str, value: str | float) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise SettingsError(f"{option} {value} is not a whole number of pixels; write 3 or 5") from None


def _split(option: str, value: str | float) -> tuple[str, int]:
    """Split ``"corn,7:3"`` into the classes and the side of the square."""
    classes, colon, size = str(value).rpartition(":")
    if not colon or not classes.strip(" ,"):
        raise SettingsError(
            f'{option} "{value}": write classes, a colon and the side of the square in pixels, as in corn,7:3'
        )
    return classes, _whole(option, size)


def _patch_size(option: str, text: str, pixel_sizes: PixelSizes | None, width: int) -> PatchSize:
    limit = parse_area(text, option)
    if limit.in_pixels:
        return PatchSize(math.ceil(limit.amount))
    if pixel_sizes is None:
        raise SettingsError(
            f"{option} {text}: the map has no CRS that ties it to the Earth, so its patches have no area in "
            f"hectares; give the size in pixels, as in 20px"
        )
    return PatchSize(
        math.ceil(limit.amount / pixel_sizes.area_unit),
        lambda row, rows: pixel_sizes.pixel_areas(row, 0, rows, width),
    )
