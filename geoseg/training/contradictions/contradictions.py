"""A ranked list of the places where a confident prediction contradicts the label, to review in QGIS.

Meant for predictions on pixels that the network was not trained on: the held-out blocks of a cross-validated
run, or another year's labels. A network reproduces the labels it was trained on, wrong ones too.

A place is a connected set of pixels with one label and one other predicted class, after a morphological
opening that removes the thin rims along borders, which occur in every map and would connect places.

A pixel of a place counts if its confidence reaches the threshold of the class it is mapped as: the mean
confidence of the pixels where map and label agree on that class (see ``disagreement``). The score is

    score = sum over the pixels that count of confidence,

confidence from 0 to 1: about the number of pixels of the place whose label is wrong, if the confidence is
calibrated. Large places with a high confidence come first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.assess.compare import IDS, WINDOW
from geoseg.classes import NODATA, LandClass
from geoseg.errors import SettingsError
from geoseg.grid import Window, tiles
from geoseg.labels.labels import Labels
from geoseg.maps.class_map_file import ClassMapFile, open_class_map
from geoseg.polygons.table.rows import Polygons
from geoseg.polygons.table.store import PolygonStore
from geoseg.polygons.trace.block import BlockValues
from geoseg.polygons.trace.rings import Traced
from geoseg.polygons.trace.sums import PolygonSums
from geoseg.polygons.trace.trace import Tracer
from geoseg.progress import Bar, Progress, Silent
from geoseg.raster.patches import find_patches
from geoseg.raster.pixel_sizes import PixelSizes
from geoseg.raster.ragged import group_starts
from geoseg.training.contradictions.disagreement import (
    PERCENT,
    Disagreement,
    MapAndLabels,
    count_disagreement,
)
from geoseg.training.contradictions.review_layer import Contradiction, write_layer

PathLike = str | os.PathLike[str]
BORDER, MIN_PIXELS, MOST = 1, 25, 1000
_CODES = 254
"""Pairs of classes that one pass can number in uint8."""


@dataclass(frozen=True)
class Contradictions:
    """The result of a search for contradictions.

    Attributes:
        path: The GeoPackage.
        places: Its rows, rank 1 first.
        found: Number of places, including those that were not written.
        contradicted: Pixels whose class differs from their label, inside places or not.
        compared: Pixels with a label and a class.
        thresholds: Least confidence of a pixel that counts, 0 to 1, by class id.
    """

    path: Path
    places: tuple[Contradiction, ...] = field(repr=False)
    found: int
    contradicted: int
    compared: int
    thresholds: Mapping[int, float]


def write_contradictions(
    path: PathLike,
    *,
    predicted: PathLike | ClassMapFile,
    confidence: PathLike | None = None,
    labels: Labels,
    classes: Sequence[LandClass],
    border: int = BORDER,
    min_pixels: int = MIN_PIXELS,
    most: int = MOST,
    window_size: int = WINDOW,
    provenance: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Contradictions:
    """Rank the places where a map contradicts labels, and write them as a GeoPackage with a QGIS style.

    The rasters are read three times, one window at a time; memory grows with the number of places.

    Args:
        path: The GeoPackage (layer ``contradictions``); replaced as a whole if it exists.
        predicted: Class map, or one that is open with its confidence; 255 where nothing was predicted.
        confidence: Its confidence raster, uint8 percent, 255 where it is unknown.
        labels: The labels, on the map's grid or on that of the scene the map was cut from.
        classes: Names and colours.
        border: Places, and parts of places, that are nowhere wider than 2 x ``border`` pixels are left out.
        min_pixels: Places with fewer pixels, or fewer pixels that count, are left out.
        most: Largest number of rows to write.
        window_size: Side of the windows that are read, in pixels; never changes the answer.
        provenance: Metadata of the file; default the map's tags that geoseg wrote.
        progress: Shows how far it is.

    Returns:
        The places, and what was compared.

    Raises:
        InputError: If a raster cannot be used, or a number is too small.
        RunError: If reading or writing failed; ``path`` is as it was.
    """
    for name, value, least in (("border", border, 0), ("min_pixels", min_pixels, 1), ("most", most, 1)):
        if value < least:
            raise SettingsError(f"{name} must be at least {least}, not {value}")
    class_map = predicted if isinstance(predicted, ClassMapFile) else open_class_map(predicted, confidence)
    if class_map.confidence is None:
        raise SettingsError(f"{class_map.path}: contradictions are ranked by confidence; give its raster")
    pair = MapAndLabels(class_map, labels)
    progress = progress or Silent()
    megapixels = pair.shape[0] * pair.shape[1] / 1e6
    with progress.stage("comparing map and labels", megapixels, "Mpx") as bar:
        disagreement = count_disagreement(pair, bar, window_size=window_size)
    pairs = disagreement.pairs()
    groups = [pairs[i : i + _CODES] for i in range(0, len(pairs), _CODES)]
    places: list[Contradiction] = []
    found = 0
    with progress.stage("ranking contradictions", len(groups) * megapixels, "Mpx") as bar:
        for group in groups:
            finder = _Finder(pair, disagreement, group, border, window_size)
            more, count = finder.find(min_pixels, most, bar)
            places, found = _best([*places, *more], most), found + count
    places = _measure_patches(places, pair, window_size)
    output = Path(path)
    if provenance is None:
        provenance = {key: text for key, text in class_map.tags.items() if key.startswith("GEOSEG_")}
    write_layer(output, places, class_map, classes, provenance)
    thresholds = disagreement.thresholds()
    return Contradictions(
        path=output,
        places=tuple(places),
        found=found,
        contradicted=disagreement.contradicted,
        compared=disagreement.compared,
        thresholds={item.id: float(thresholds[item.id]) / 100 for item in classes},
    )


def _best(places: list[Contradiction], most: int) -> list[Contradiction]:
    """Keep the places with the highest scores; of equal ones those whose first pixel comes first."""
    ordered = sorted(places, key=lambda place: (-place.score, place.row, place.col))
    return [replace(place, rank=rank) for rank, place in enumerate(ordered[:most], start=1)]


def _measure_patches(
    places: list[Contradiction], pair: MapAndLabels, window_size: int
) -> list[Contradiction]:
    """Measure each place's share of the patch of equal labels around it."""
    if not places:
        return []
    rows, cols = (np.array([getattr(place, name) for place in places]) for name in ("row", "col"))
    sizes = find_patches(pair.read_labels, pair.shape, rows, cols, window_size=window_size).sizes
    return [
        replace(place, patch_share=place.pixels / int(size))
        for place, size in zip(places, sizes, strict=True)
    ]


class _Collector:
    """Collects traced polygons with two sums that a ``PolygonStore`` does not keep."""

    def __init__(self) -> None:
        self.store = PolygonStore(np.zeros(0, np.uint8))
        self.sums: list[NDArray[np.int64]] = []
        self.firsts: list[NDArray[np.int32]] = []

    def add(self, traced: Traced, tally: PolygonSums) -> None:
        """Take polygons and their sums."""
        assert tally.probabilities is not None  # every block brings them
        vertices = np.add.reduceat(traced.ring_sizes, group_starts(traced.ring_counts))
        self.firsts.append(traced.vertices[group_starts(vertices)])
        self.sums.append(tally.probabilities)
        self.store.add(traced, replace(tally, probabilities=None))

    def in_order(self) -> NDArray[np.int64]:
        """Return the sums in the order of the store's polygons, int64 (polygons, 2)."""
        if not self.sums:
            return np.zeros((0, 2), np.int64)
        firsts = np.concatenate(self.firsts)
        return np.concatenate(self.sums)[np.lexsort((firsts[:, 1], firsts[:, 0]))]


@dataclass(frozen=True)
class _Finder:
    """Finds the places of up to 254 pairs of classes.

    Attributes:
        pair: Map and labels.
        disagreement: Their counts.
        group: (label, map class) of each pair, int64 (pairs, 2).
        border: Half-width of the opening in pixels.
        window_size: Side of the windows that are read, in pixels.
    """

    pair: MapAndLabels
    disagreement: Disagreement
    group: NDArray[np.int64]
    border: int
    window_size: int

    def find(self, min_pixels: int, most: int, bar: Bar) -> tuple[list[Contradiction], int]:
        """Find the places with the highest scores, and count all of them."""
        pixel_sizes: PixelSizes | None = self.pair.class_map.pixel_sizes()
        collector = _Collector()
        tracer = Tracer(self.pair.shape, pixel_sizes, collector)
        codes, counts = self._codes(), self._counts()
        for window in tiles(self.pair.shape, self.window_size):
            tracer.add(self._block(window, codes, counts))
            bar.advance(window.pixels / 1e6)
        polygons = collector.store.finish(pixel_sizes, self.pair.class_map.georeference.transform)
        sums = collector.in_order()
        fits = (polygons.columns.pixels >= min_pixels) & (sums[:, 0] >= min_pixels)
        order = np.flatnonzero(fits)[np.argsort(-sums[fits, 1], kind="stable")][:most]
        return self._places(polygons.take(order), sums[order]), int(np.count_nonzero(fits))

    def _places(self, polygons: Polygons, sums: NDArray[np.int64]) -> list[Contradiction]:
        import shapely

        columns, pixel_sizes = polygons.columns, polygons.pixel_sizes
        if not len(polygons) or columns.confidence is None or columns.confident is None:
            return []
        areas = (
            None if pixel_sizes is None or columns.areas is None else columns.areas * pixel_sizes.area_unit
        )
        pairs = self.group[columns.class_ids]
        return [
            Contradiction(
                row=int(columns.row[i]),
                col=int(columns.column[i]),
                label_id=int(pairs[i, 0]),
                predicted_id=int(pairs[i, 1]),
                pixels=int(columns.pixels[i]),
                confident_pixels=int(sums[i, 0]),
                area_ha=None if areas is None else float(areas[i]),
                confidence=float(columns.confidence[i] / columns.confident[i] / 100),
                score=float(sums[i, 1] / 100),
                geometry=geometry,
            )
            for i, geometry in enumerate(shapely.simplify(polygons.geometries(), 0))  # corners alone
        ]

    def _codes(self) -> NDArray[np.uint8]:
        """Number the pairs of a label and a map class, uint8 (256, 256); 255 for none of them."""
        codes = np.full((IDS, IDS), NODATA, np.uint8)
        codes[self.group[:, 0], self.group[:, 1]] = np.arange(len(self.group))
        return codes

    def _counts(self) -> NDArray[np.bool_]:
        """Tabulate whether a pixel of a class with a percentage of confidence counts, bool (256, 256)."""
        counts = np.arange(IDS) >= self.disagreement.thresholds()[:, None]
        counts[:, PERCENT:] = False
        return counts

    def _block(self, window: Window, codes: NDArray[np.uint8], counts: NDArray[np.bool_]) -> BlockValues:
        wide = window.grown(2 * self.border, self.pair.shape)
        shown = self.pair.class_map.read(wide)
        places = open_each_value(codes[self.pair.read_labels(wide), shown], self.border)
        inside = window.slices(wide)
        places, shown = np.ascontiguousarray(places[inside]), shown[inside]
        confidence = self.pair.class_map.read_confidence(window)
        counting = counts[shown, confidence]
        sums = np.stack([counting, np.where(counting, confidence, 0)]).astype(np.uint8)
        return BlockValues(window.row, window.col, places, confidence, sums)


def open_each_value(codes: NDArray[np.uint8], border: int) -> NDArray[np.uint8]:
    """Open each value by itself (morphology): keep the pixels that a square of one value covers.

    Args:
        codes: uint8 (rows, columns), 255 for no value.
        border: The square's side is 2 x ``border`` + 1 pixels.

    Returns:
        The same, 255 where no such square of one value fits into the array.
    """
    if border == 0:
        return codes
    from scipy.ndimage import maximum_filter, minimum_filter

    side, beyond = 2 * border + 1, {"mode": "constant", "cval": NODATA}
    centres = minimum_filter(codes, side, **beyond) == maximum_filter(codes, side, **beyond)
    covered = maximum_filter(centres, side, mode="constant", cval=0)
    # All squares that cover a pixel have that pixel's value, so one mask serves all values.
    return np.where(covered, codes, np.uint8(NODATA))
