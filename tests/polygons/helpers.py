"""What several tests of this folder need."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from geoseg.grid import Window
from geoseg.maps.class_map_file import open_class_map
from geoseg.polygons.table.rows import Polygons
from geoseg.polygons.table.store import PolygonStore
from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.trace.block import BlockValues
from geoseg.polygons.trace.trace import Tracer
from geoseg.polygons.vectorise import trace_class_map

rasters = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=10), elements=st.sampled_from([1, 2, 7, 255])
)


def trace(
    classes,
    block_size=64,
    *,
    confidence=None,
    probabilities=None,
    pixel_sizes=None,
    transform=None,
    origin=(0, 0),
    junctions=False,
) -> Polygons:
    """Trace a raster held in memory."""
    bands = 0 if probabilities is None else len(probabilities)
    store = PolygonStore(np.arange(bands, dtype=np.uint8))
    tracer = Tracer(classes.shape, pixel_sizes, store, junctions=junctions)
    for row in range(0, classes.shape[0], block_size):
        for column in range(0, classes.shape[1], block_size):
            part = (slice(row, row + block_size), slice(column, column + block_size))
            tracer.add(
                BlockValues(
                    row,
                    column,
                    classes[part],
                    None if confidence is None else confidence[part],
                    None if probabilities is None else probabilities[(slice(None), *part)],
                )
            )
    return replace(store.finish(pixel_sizes, transform, origin), shape=classes.shape)


def trace_files(class_map, *, confidence=None, probabilities=None, **options) -> PolygonTable:
    """Trace a class map that lies in a file."""
    with open_class_map(class_map, confidence, probabilities) as opened:
        return trace_class_map(opened, **options)


class ClassArea(NamedTuple):
    id: int
    pixels: int
    area_ha: float | None


def class_areas(path) -> list[ClassArea]:
    """Count the pixels of every class of a map and add up their areas, pixel by pixel."""
    with open_class_map(path) as class_map:
        classes, pixel_sizes = class_map.read(Window.from_shape(class_map.shape)), class_map.pixel_sizes()
    found = []
    for value in np.unique(classes[classes != 255]).tolist():
        area = None
        if pixel_sizes is not None:
            sizes = pixel_sizes.pixel_areas(0, 0, *classes.shape)[classes == value]
            area = float(sizes.astype(np.int64).sum() * pixel_sizes.area_unit)
        found.append(ClassArea(value, np.count_nonzero(classes == value), area))
    return found


def noise(shape, sigma=3.0, classes=4, seed=1) -> np.ndarray:
    """A class map with patches of some size and rough borders."""
    random = np.random.default_rng(seed)
    layers = [ndimage.gaussian_filter(random.standard_normal(shape), sigma) for _ in range(classes)]
    return np.argmax(layers, axis=0).astype(np.uint8)
