"""What can be seen of a class map before polygons are traced from it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from geoseg.classes import class_ids, split_names
from geoseg.errors import SettingsError
from geoseg.polygons.borders.simplify import Borders
from geoseg.polygons.rasters import MapRasters
from geoseg.polygons.writers import check_target
from geoseg.raster.pixel_sizes import measure_pixel_sizes
from geoseg.units import Area

PathLike = str | os.PathLike[str]


def classes_of(
    class_map: PathLike, classes: Sequence[str | int] | None, output: Path, *, fiboa: bool
) -> set[int] | None:
    """Ids of classes given by name or id, None for all, after a look whether the output can hold the map.

    Raises:
        OutputError: If the format cannot.
        SettingsError: Naming the classes that there are.
    """
    with MapRasters(class_map) as rasters:
        info = rasters.info
    check_target(output, info.crs, fiboa=fiboa)
    if classes is not None and not isinstance(classes, str):
        classes = split_names(",".join(map(str, classes)), info.legend)
    return None if classes is None else set(class_ids(classes, info.legend, os.fspath(class_map)))


def check_metres(class_map: PathLike, limit: Area | None, borders: Borders | None) -> None:
    """Refuse hectares and metres, before any work, for a map that has neither.

    Raises:
        SettingsError: Saying that pixels can be counted.
    """
    tolerance = None if borders is None else borders.tolerance
    asked = {"--min-area": (limit, "20px"), "--simplify": (tolerance, "2px")}
    on_earth = [(option, mend) for option, (size, mend) in asked.items() if size and not size.in_pixels]
    if not on_earth:
        return
    with MapRasters(class_map) as rasters:
        info = rasters.info
    if measure_pixel_sizes(info.crs, info.transform, info.shape) is None:
        option, mend = on_earth[0]
        raise SettingsError(
            f"{os.fspath(class_map)} has no CRS that ties it to the Earth, so {option} cannot count hectares "
            f"or metres; give pixels, as in {mend}"
        )
