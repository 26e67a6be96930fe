"""From physical units to what a network takes in: fixed by the model package, never estimated per chip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROWS = 64
"""Rows normalised at once: they stay in the processor's cache."""


@dataclass(frozen=True)
class Normalisation:
    """``(value - mean) / std`` for each band.

    Attributes:
        means: float32 (bands,), physical units.
        stds: float32 (bands,), physical units.
    """

    means: NDArray[np.float32]
    stds: NDArray[np.float32]

    def apply(
        self,
        values: NDArray[np.float32],
        valid: NDArray[np.bool_],
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Normalise a window.

        Args:
            values: float32 (bands, rows, columns) in physical units; NaN where a band is nodata. Overwritten.
            valid: bool (rows, columns).
            out: float32, the shape of ``values``: where the result goes; default ``values``.

        Returns:
            ``out``: 0 at invalid pixels and wherever a band is nodata.
        """
        out = values if out is None else out
        for first in range(0, len(valid), _ROWS):
            rows = slice(first, first + _ROWS)
            invalid = ~valid[rows]
            planes = zip(values[:, rows], out[:, rows], self.means, self.stds, strict=True)
            for band, target, mean, std in planes:
                np.subtract(band, mean, out=band)
                np.divide(band, std, out=target)
                gone = np.isnan(band) | invalid
                if gone.any():
                    np.copyto(target, 0, where=gone)
        return out
