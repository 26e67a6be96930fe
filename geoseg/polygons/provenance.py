"""What made a table of polygons: the tags of the map, and what was done beyond tracing all of it.

A key is there only where its step was done, so polygons that ``predict`` writes and those that ``polygonize``
makes of its rasters say the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from geoseg.polygons.table.schema import SCHEMA_VERSION, VERSION_KEY
from geoseg.polygons.zonal.statistics import Zonal, column_names
from geoseg.units import Area

STATS_TAG = "GEOSEG_STATS"
"""The columns of statistics, in order."""
WITHOUT_TAG = "GEOSEG_WITHOUT"
"""Rasters that were not at hand: the columns they fill are null."""
MIN_AREA_TAG, CLASSES_TAG = "GEOSEG_MIN_AREA", "GEOSEG_CLASSES"
"""Filters that left rows out."""
FIBOA_TAG = "GEOSEG_FIBOA"
"""Whether fiboa's columns were added."""


def table_provenance(
    tags: Mapping[str, str], *, zonal: Zonal | None, without: Iterable[str] = ()
) -> dict[str, str]:
    """Make the provenance of all polygons of a map.

    Args:
        tags: The map's.
        zonal: The statistics that became columns, or None.
        without: Rasters that the polygons were traced without: ``confidence``, ``probabilities``.
    """
    found = {VERSION_KEY: SCHEMA_VERSION} | {key: str(tags[key]) for key in sorted(tags)}
    if zonal is not None:
        found[STATS_TAG] = ", ".join(column_names(zonal.columns))
    missing = ", ".join(without)
    return found | {WITHOUT_TAG: missing} if missing else found


def choice_tags(min_area: Area | None, classes: Collection[int] | None, *, fiboa: bool) -> dict[str, str]:
    """Say what filters and further columns add to the provenance.

    Args:
        min_area: Smaller polygons were left out.
        classes: Only polygons of these class ids were kept.
        fiboa: Whether fiboa's columns were added.
    """
    found = {}
    if min_area is not None:
        found[MIN_AREA_TAG] = str(min_area)
    if classes is not None:
        found[CLASSES_TAG] = ", ".join(map(str, sorted(classes)))
    if fiboa:
        found[FIBOA_TAG] = "yes"
    return found
