"""The input of the doctor's checks: a scene, a model's card, the matched bands, and sampled pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.doctor.each_band import BandDoubt, BandValues, find_doubts
from geoseg.doctor.stored_values import StoredValues, decide_values, with_values
from geoseg.errors import SceneError
from geoseg.scene.band import can_hold
from geoseg.scene.match import BandMatch, match_bands
from geoseg.scene.sample import Sample, Sampler
from geoseg.scene.scene import Scene

if TYPE_CHECKING:
    from geoseg.models.card import ModelCard

_FILL_SHARE = 0.01
_FILL_SHARE_PICTURE = 0.05
"""Higher for 8-bit pictures, where black shadows and white clouds are measurements."""

_FILLS: Mapping[str, tuple[float, ...]] = {
    "u": (0, 255, 65535),
    "i": (0, -9999, -999, -32768, 32767),
    "f": (0, -9999, -999, -32768, float(np.finfo(np.float32).min)),
}
"""Values that files use for nodata without declaring it, by kind of dtype."""


@dataclass(frozen=True)
class Fill:
    """A value that fills all bands of many valid pixels at once.

    Attributes:
        value: The stored value.
        share: Its share of the sampled valid pixels.
    """

    value: float
    share: float


@dataclass(frozen=True, eq=False)
class Examination:
    """A scene and a model to be checked; pixels are read when a check first needs them.

    Attributes:
        scene: The scene as predict would open it, overrides applied.
        card: The model's card.
        bands: Bands that the user named with ``--bands``, or None.
        match: The bands to use; None where the scene lacks some.
        mismatch: What the scene lacks; None where there is a match.
        sampler: Sampler of the scene with at least these bands, where several models share one.
        is_named: Whether the user named the model, and so knows for what it is made.
    """

    scene: Scene
    card: ModelCard
    bands: Sequence[str | int] | None
    match: BandMatch | None
    mismatch: SceneError | None
    sampler: Sampler | None = field(default=None, repr=False)
    is_named: bool = True

    @classmethod
    def begin(cls, scene: Scene, card: ModelCard, bands: Sequence[str | int] | None = None) -> Examination:
        """Match the scene's bands; the arguments are those of ``examine``."""
        try:
            return cls(scene, card, bands, match_bands(scene, card.band_names, bands), None)
        except SceneError as error:
            return cls(scene, card, bands, None, error)

    @cached_property
    def selected(self) -> Scene | None:
        """The scene with the bands that the model reads, read as decided; None where it lacks some."""
        if self.match is None:
            return None
        return self.read_scene.select(self.match.numbers, invalid_where=self.card.invalid_where)

    @cached_property
    def read_scene(self) -> Scene:
        """The scene with all its bands, its values read as was decided."""
        if self.match is None or self.decided is None:
            return self.scene
        return with_values(self.scene, self.card, self.match.numbers, self.decided)

    @cached_property
    def decided(self) -> StoredValues | None:
        """What was decided about the scene's values; None where it lacks bands."""
        if self._as_stored is None or self.sample is None:
            return None
        keep = self._kept(self.sample)
        stored = [values[keep] for values in self.sample.stored]
        return decide_values(self._as_stored, self.card, stored, self.sample.missing[:, keep])

    @cached_property
    def _as_stored(self) -> Scene | None:
        """The scene with the bands that the model reads, as it was opened; None where it lacks some."""
        if self.match is None:
            return None
        return self.scene.select(self.match.numbers, invalid_where=self.card.invalid_where)

    @cached_property
    def sample(self) -> Sample | None:
        """Valid pixels from all over the scene, of the bands that the model reads; None where it lacks some.

        Raises:
            RunError: If they cannot be read.
        """
        if self._as_stored is None:
            return None
        sampler = self.sampler or Sampler(self._as_stored)
        return sampler.sample([band.number for band in self._as_stored.bands], self._as_stored.invalid_where)

    @cached_property
    def fill(self) -> Fill | None:
        """A value that is probably undeclared nodata; None if there is none."""
        if self.sample is None or not self.sample.pixels:
            return None
        stored = self.sample.stored
        kinds = {values.dtype.kind for values in stored}
        if len(kinds) != 1:
            return None
        candidates = [value for value in _FILLS[kinds.pop()] if all(can_hold(v.dtype, value) for v in stored)]
        shares = {value: float(_filled_with(value, stored).mean()) for value in candidates}
        value = max(shares, key=lambda candidate: shares[candidate], default=None)
        is_picture = all(values.dtype.itemsize == 1 for values in stored)
        if value is None or shares[value] < (_FILL_SHARE_PICTURE if is_picture else _FILL_SHARE):
            return None
        return Fill(value, shares[value])

    @cached_property
    def values(self) -> tuple[BandValues, ...]:
        """Sampled values of each band that has any, in the model's order; ``fill`` is left out."""
        if self.selected is None or self.sample is None:
            return ()
        keep = self._kept(self.sample)
        stored = [
            values[keep & ~missing]
            for values, missing in zip(self.sample.stored, self.sample.missing, strict=True)
        ]
        bands = zip(self.selected.bands, self.card.bands, stored, strict=True)
        return tuple(BandValues(band, wanted, values) for band, wanted, values in bands if values.size)

    def _kept(self, sample: Sample) -> NDArray[np.bool_]:
        """Mark the sampled pixels that are not ``fill``."""
        if self.fill is None:
            return np.ones(sample.pixels, bool)
        return ~_filled_with(self.fill.value, sample.stored)

    @cached_property
    def doubts(self) -> tuple[BandDoubt, ...]:
        """What is wrong with single bands."""
        if self.sample is None:
            return ()
        absent = dict(zip(self.card.band_names, self.sample.absent.tolist(), strict=True))
        needs_all = self.card.invalid_where == "any"
        return find_doubts(self.values, absent, self.card.units, needs_all=needs_all)

    @property
    def comparable(self) -> tuple[BandValues, ...]:
        """The values of the bands that are neither empty nor on another scale than the others."""
        stopped = {doubt.band for doubt in self.doubts if doubt.severity == "stop"}
        return tuple(band for band in self.values if band.wanted.name not in stopped)


def _filled_with(value: float, stored: Sequence[NDArray[np.generic]]) -> NDArray[np.bool_]:
    """Mark the pixels that hold exactly this value in every band, bool (pixels,)."""
    filled: NDArray[np.bool_] = np.all([band == band.dtype.type(value) for band in stored], axis=0)
    return filled
