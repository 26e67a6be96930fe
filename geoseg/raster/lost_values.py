"""Values of class rasters that are read as no class although they may be one: 255, and a named nodata value.

Masks of image editors hold 0 and 255, and 255 is no class id; some programs declare a class as nodata.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.omissions import Omission

_SIDE = 2048

Stored = Callable[[Window], tuple[NDArray[Any], NDArray[np.bool_]]]
"""Reads the stored values in a window, and a mask that is True where they are nodata or masked."""


def find_lost_values(
    path: str,
    read: Stored,
    shape: tuple[int, int],
    nodata: float | None,
    *,
    things: str,
    fix: str,
    names: Mapping[int, str] | None = None,
    is_255_meant: bool = False,
) -> tuple[Omission, ...]:
    """Find 255 that is not declared as nodata, and a class that is. Reads the raster if it can hold either.

    A file that holds only 0 and 255 is a mask, whose foreground would be lost, so it refuses the run; beside
    other classes 255 is what many programs write for nothing.

    Args:
        path: The raster.
        read: Reads it.
        shape: Its rows and columns, or those of the grid that it is read on.
        nodata: Its declared nodata value.
        things: What its pixels are, for people.
        fix: What makes 255 a class; how to declare it is added.
        names: The named classes.
        is_255_meant: Whether the user said what 255 is.
    """
    hidden_class = None if nodata is None or names is None else names.get(_whole(nodata))
    if (is_255_meant or nodata == NODATA) and hidden_class is None:
        return ()
    undeclared = total = of_class = 0
    is_mask = True
    for row in range(0, shape[0], _SIDE):
        for col in range(0, shape[1], _SIDE):
            window = Window(row, col, min(_SIDE, shape[0] - row), min(_SIDE, shape[1] - col))
            values, hidden = read(window)
            shown = values[~hidden]
            total += shown.size
            undeclared += int(np.count_nonzero(shown == NODATA))
            is_mask = is_mask and not ((shown != 0) & (shown != NODATA)).any()
            of_class += 0 if hidden_class is None else int(np.count_nonzero(values == nodata))
    found = []
    if undeclared and not is_255_meant and nodata != NODATA:
        reason = "they are 255, which is read as nodata although the file does not declare it"
        fix = f"{fix}; if it is nodata, declare it (gdal_edit.py -a_nodata 255)"
        found.append(Omission("pixels", path, undeclared, total, things, reason, fix, refuses=is_mask))
    if of_class and hidden_class is not None and names is not None:
        reason = f"{nodata:g} ({hidden_class}) is the file's nodata value, on {of_class:,} pixels"
        fix = "remove the nodata value (gdal_edit.py -unsetnodata), or rename the class"
        found.append(Omission("classes", path, 1, len(names), "classes", reason, fix))
    return tuple(found)


def refuse_lossy(path: str, dataset: Any) -> None:
    """Refuse a class raster whose compression changes values: near borders JPEG makes 3 and 4 of 2 and 5.

    Raises:
        SceneError: Saying what to do.
    """
    about = dataset.tags(ns="IMAGE_STRUCTURE")
    codec = dataset.tags(1, ns="IMAGE_STRUCTURE").get("COMPRESSION") or about.get("COMPRESSION", "")
    is_lossy = about.get("COMPRESSION_REVERSIBILITY") == "LOSSY" or float(about.get("MAX_Z_ERROR", 0)) >= 1
    if is_lossy or codec in ("JPEG", "YCbCr JPEG"):
        raise SceneError(
            f"{path} is compressed with {codec}, which changes values, so that pixels near borders have the "
            "wrong class; make it again without loss (COMPRESS=DEFLATE)"
        )


def _whole(value: float) -> int:
    """A whole number as an int; -1 for any other, which is no class."""
    return int(value) if float(value).is_integer() else -1
