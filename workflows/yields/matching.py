"""Fields through time: a field is a polygon of the reference map, followed by overlap.

The rule. ``id`` names a polygon within one map only, so maps are laid over one another. In every other map a
field is matched with the polygon that covers most of it (ties: the one that comes first), if that covers at
least ``least_share`` of it. Its class is put to the vote: every polygon that covers part of the field votes
for its class with share x confidence, the field itself with 1 x its confidence, and ties go to the lowest
class id.
"""

from __future__ import annotations

from collections.abc import Sequence

import geopandas
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from yields.tables import DateMap, legend


def overlaps(
    fields: geopandas.GeoSeries, others: geopandas.GeoSeries
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Which polygons cover which share of a field.

    Returns:
        Row of the field, row of the other polygon, and the share of the field's area, of every pair that
        shares area; ordered by field, then by the other.
    """
    tree = shapely.STRtree(others.to_numpy())
    rows, columns = tree.query(fields.to_numpy(), predicate="intersects")
    order = np.lexsort((columns, rows))
    rows, columns = rows[order], columns[order]
    here = fields.to_numpy()[rows]
    shares = shapely.area(shapely.intersection(here, others.to_numpy()[columns])) / shapely.area(here)
    keep = shares > 0
    return rows[keep], columns[keep], np.minimum(shares[keep], 1.0)


def follow(
    maps: Sequence[DateMap], reference: DateMap, *, least_share: float = 0.5
) -> geopandas.GeoDataFrame:
    """Follow every field of the reference map through all maps.

    Args:
        maps: All maps of the season, the reference among them.
        reference: The map whose polygons are the fields.
        least_share: How much of a field a polygon must cover to be its match.

    Returns:
        One row a field: ``id`` (in the reference map), ``class_id`` and ``class_name`` by vote;
        ``confidence``, the mean over dates of share x confidence for that class; ``agreement``, the same
        without confidence: 1 where every map shows the class on the whole field; ``seen``, the mean share
        that maps cover (what a map leaves out says nothing); ``dates_matched``; ``polygon_DATE``, the match's
        id; ``area_ha``; geometry.
    """
    names = legend(maps)
    ids = np.array(list(names))
    fields = reference.polygons
    votes, shown = np.zeros((2, len(fields), len(ids)))
    columns: dict[str, list[str | None]] = {}
    for one in maps:
        rows, others, shares = _pairs(one, reference)
        classes = np.searchsorted(ids, one.polygons["class_id"].to_numpy()[others])
        sure = one.polygons["confidence"].fillna(1.0).to_numpy()[others]
        np.add.at(votes, (rows, classes), shares * sure)
        np.add.at(shown, (rows, classes), shares)
        columns[f"polygon_{one.date:%Y%m%d}"] = best_matches(
            len(fields), rows, others, shares, one.polygons["id"].to_numpy(), least_share
        )
    winner = votes.argmax(1)
    covered = shown.sum(1)
    here = np.arange(len(fields))
    result = fields[["id", "area_ha", "geometry"]].copy()
    result.insert(1, "class_id", ids[winner].astype(np.int32) if len(ids) else np.zeros(0, np.int32))
    result.insert(2, "class_name", [names[number] for number in result["class_id"]])
    result["confidence"] = votes[here, winner] / covered
    result["agreement"] = shown[here, winner] / covered
    result["seen"] = covered / len(maps)
    matched = pd.DataFrame(columns, index=result.index)
    result["dates_matched"] = matched.notna().sum(axis=1).astype(np.int32)
    return result.join(matched)


def _pairs(
    one: DateMap, reference: DateMap
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Overlaps of a map with the fields; the reference covers its own fields exactly."""
    if one is reference:
        rows = np.arange(len(one.polygons))
        return rows, rows, np.ones(len(rows))
    return overlaps(reference.polygons.geometry, one.polygons.geometry)


def best_matches(
    count: int,
    rows: NDArray[np.intp],
    others: NDArray[np.intp],
    shares: NDArray[np.float64],
    ids: NDArray[np.object_],
    least_share: float,
) -> list[str | None]:
    """The id of the polygon that covers most of each field, or None where none covers enough."""
    best: list[str | None] = [None] * count
    order = np.lexsort((others, -shares, rows))
    _, first = np.unique(rows[order], return_index=True)
    for place in order[first]:
        if shares[place] >= least_share:
            best[rows[place]] = ids[others[place]]
    return best
