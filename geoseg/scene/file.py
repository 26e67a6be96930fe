"""One file of a scene: where it lies on the scene's grid, and how its pixels and masks are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import RunError
from geoseg.grid import Window
from geoseg.raster.source import GDAL_ERRORS, Source, borrow


@dataclass(frozen=True, slots=True)
class Pixels:
    """What a file holds in a window.

    Attributes:
        stored: (bands, rows, columns) in the file's dtype.
        hidden: (rows, columns) bool, True where the dataset's mask or alpha is 0; None where it has neither.
        hidden_cells: (bands, rows, columns) bool, True where a band's own mask is 0; None without such masks.
    """

    stored: NDArray[np.generic]
    hidden: NDArray[np.bool_] | None = None
    hidden_cells: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class SceneFile:
    """One file of a scene.

    Attributes:
        source: What is opened.
        window: The scene's pixels that this file holds.
        alpha: 1-based number of its alpha band, or None.
        alpha_is_coverage: Whether a warp made the alpha band, which then only tells where this file has data:
            elsewhere its own bands are nodata, but those of other files need not be.
        mask_of: 1-based number of a band whose mask holds for all (inside the file, or a ``.msk`` beside it).
        has_band_masks: Whether its bands have masks of their own.
    """

    source: Source
    window: Window
    alpha: int | None = None
    alpha_is_coverage: bool = False
    mask_of: int | None = None
    has_band_masks: bool = False

    @classmethod
    def of(cls, source: Source, dataset: Any) -> SceneFile:
        """Describe an open dataset as a file that is a scene of its own."""
        alphas = [i for i, colour in enumerate(dataset.colorinterp, 1) if colour == ColorInterp.alpha]
        colour_bands = [i for i in range(1, dataset.count + 1) if i not in alphas]
        flags = {i: set(dataset.mask_flag_enums[i - 1]) for i in colour_bands}
        declared = {MaskFlags.alpha, MaskFlags.nodata}
        masked = [i for i, f in flags.items() if MaskFlags.per_dataset in f and not f & declared]
        return cls(
            source=source,
            window=Window(0, 0, dataset.height, dataset.width),
            alpha=alphas[-1] if alphas else None,
            mask_of=masked[0] if masked else None,
            has_band_masks=any(not f for f in flags.values()),
        )

    def at(self, row: int, col: int) -> SceneFile:
        """The same file with its first pixel at (row, column) of the scene."""
        return replace(self, window=Window(row, col, *self.window.shape))

    def read(self, indexes: Sequence[int], window: Window, *, use_alpha: bool) -> Pixels:
        """Read bands in a window of the scene that lies inside this file.

        Args:
            indexes: 1-based band numbers in this file, without repeats, all of one dtype.
            window: Window on the scene's grid.
            use_alpha: Whether the alpha band hides pixels; False when it is read as a band.

        Raises:
            RunError: If the file cannot be read there.
        """
        inside = RasterioWindow(
            window.col - self.window.col, window.row - self.window.row, window.width, window.height
        )
        try:
            with borrow(self.source) as dataset:
                stored = dataset.read(list(indexes), window=inside)
                hidden = hidden_cells = None
                if self.mask_of is not None:
                    hidden = dataset.read_masks(self.mask_of, window=inside) == 0
                if self.alpha is not None and use_alpha:
                    transparent = dataset.read(self.alpha, window=inside) == 0
                    hidden = transparent if hidden is None else hidden | transparent
                if self.has_band_masks:
                    hidden_cells = dataset.read_masks(list(indexes), window=inside) == 0
        except GDAL_ERRORS as error:
            raise RunError(
                f"{self.source.path}: rows {window.row}-{window.row_stop - 1} cannot be read: the file is "
                f"damaged or incomplete, or the connection was lost ({reason(error)})"
            ) from error
        return Pixels(stored, hidden, hidden_cells)


def reason(error: BaseException) -> str:
    """GDAL's reason: rasterio keeps it in the cause, its own message only says "see above"."""
    reason = error.__cause__ or error
    return str(reason).strip().splitlines()[0] if str(reason).strip() else type(error).__name__
