"""One band of a scene: the meaning of its values, and where they are stored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Band:
    """One band of a scene.

    Attributes:
        number: 1-based number over all files of the scene, alpha bands included.
        name: The file's description of the band; for a file with one undescribed band, the band's name in the
            file name; else None.
        common_name: STAC ``eo`` common name; None if unknown.
        dtype: Data type of the stored values, as numpy names it.
        nodata: Stored value that means "no data", or None.
        scale: Physical value = stored value * scale + offset.
        offset: See scale.
        has_palette: Whether its values are indices of a colour palette, not measurements.
        lowest: Physical values below are set to it; None for no limit.
    """

    number: int
    name: str | None
    common_name: str | None
    dtype: str
    nodata: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    has_palette: bool = False
    lowest: float | None = None

    def __str__(self) -> str:
        """Return the band as messages name it: ``2 (B03, green)``."""
        names = [name for name in (self.name, self.common_name) if name]
        if len(names) == 2 and names[0].lower() == names[1]:
            names.pop()
        return f"{self.number} ({', '.join(names)})" if names else f"{self.number} (unnamed)"

    def physical(
        self, stored: NDArray[np.generic], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Convert stored values to physical units; nodata values are converted too.

        Args:
            stored: Any shape, in the file's dtype.
            out: Array for the result; default a new one.

        Returns:
            float32, same shape; NaN where a floating-point result is not finite. Types that float32 cannot
            hold exactly are scaled in float64 first.
        """
        physical = np.empty(stored.shape, np.float32) if out is None else out
        with np.errstate(over="ignore", invalid="ignore"):
            if np.can_cast(stored.dtype, np.float32):
                np.multiply(stored, np.float32(self.scale), out=physical, dtype=np.float32)
                if self.offset != 0.0:
                    physical += np.float32(self.offset)
            else:
                physical[...] = stored.astype(np.float64) * self.scale + self.offset
            if self.lowest is not None:
                np.maximum(physical, np.float32(self.lowest), out=physical)
        if stored.dtype.kind == "f":
            physical[~np.isfinite(physical)] = np.nan
        return physical

    def missing(self, stored: NDArray[np.generic]) -> NDArray[np.bool_]:
        """Find stored values that are nodata, NaN or infinite: bool, same shape."""
        missing = ~np.isfinite(stored) if stored.dtype.kind == "f" else np.zeros(stored.shape, bool)
        if self.nodata is not None and can_hold(stored.dtype, self.nodata):
            # nodata is a float: near the largest 64-bit numbers, not equal to them.
            wide = stored.dtype.kind in "iu" and stored.dtype.itemsize == 8
            missing |= (
                stored.astype(np.float64) == self.nodata if wide else stored == stored.dtype.type(self.nodata)
            )
        return missing


@dataclass(frozen=True, slots=True)
class Layer:
    """A band of the scene, and where it is stored.

    Attributes:
        band: The band.
        stack: Index of the stack of files that holds it.
        index: Its 1-based number in each file of that stack.
        is_alpha: Whether the files mark it as alpha; it masks pixels unless it is selected by number.
    """

    band: Band
    stack: int
    index: int
    is_alpha: bool = False


def can_hold(dtype: Any, value: float) -> bool:
    """Tell whether a stored value of ``dtype`` can equal ``value``; NaN equals nothing."""
    dtype = np.dtype(dtype)
    if math.isnan(value):
        return False
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return float(value).is_integer() and float(limits.min) <= value <= float(limits.max)
    return True
