"""What was sampled of a scene's bands, beside what a model knows of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.scene import Band

if TYPE_CHECKING:
    from geoseg.models.card import ModelBand


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
