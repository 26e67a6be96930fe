"""Metadata of a polygon table: the tags of its map, and the options that changed the table.

A key is present only if its option was used. So ``predict`` and a later ``polygonize`` of its rasters write
the same metadata.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from geoseg.polygons.table.schema import SCHEMA_VERSION, VERSION_KEY
from geoseg.polygons.zonal.statistics import Zonal, column_names
from geoseg.units import Area

STATS_TAG = "GEOSEG_STATS"
"""Columns of statistics, in order."""
WITHOUT_TAG = "GEOSEG_WITHOUT"
"""Rasters that were not given, so that their columns are null."""
MIN_AREA_TAG, CLASSES_TAG = "GEOSEG_MIN_AREA", "GEOSEG_CLASSES"
"""Filters that removed rows."""
FIBOA_TAG = "GEOSEG_FIBOA"
"""Set if the columns of fiboa were added."""


def table_provenance(
    tags: Mapping[str, str], *, zonal: Zonal | None, without: Iterable[str] = ()
) -> dict[str, str]:
    """Return the metadata of a table that holds all polygons of a map.

    Args:
        tags: Tags of the map.
        zonal: The statistics that have columns, or None.
        without: Rasters that were not given: ``confidence``, ``probabilities``.
    """
    found = {VERSION_KEY: SCHEMA_VERSION} | {key: str(tags[key]) for key in sorted(tags)}
    if zonal is not None:
        found[STATS_TAG] = ", ".join(column_names(zonal.columns))
    missing = ", ".join(without)
    return found | {WITHOUT_TAG: missing} if missing else found


def choice_tags(min_area: Area | None, classes: Collection[int] | None, *, fiboa: bool) -> dict[str, str]:
    """Return the metadata that filters and additional columns add.

    Args:
        min_area: Polygons smaller than this were removed; None for no limit.
        classes: Ids of the classes that were kept; None for all.
        fiboa: Whether the columns of fiboa were added.
    """
    found = {}
    if min_area is not None:
        found[MIN_AREA_TAG] = str(min_area)
    if classes is not None:
        found[CLASSES_TAG] = ", ".join(map(str, sorted(classes)))
    if fiboa:
        found[FIBOA_TAG] = "yes"
    return found
