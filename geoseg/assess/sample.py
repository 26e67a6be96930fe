"""Stratified random samples of a map: draw them, write them for labelling in QGIS, and read them back.

Every pixel has a random number that depends on the seed and its position alone, and the sample of a class is
its pixels with the smallest numbers. So the sample does not depend on how the map is cut into windows, needs
no second pass, and a larger sample with the same seed contains the smaller one: labelled points stay in it.

The file has two layers. ``sample`` has one point for each sampled pixel, with the columns to fill in;
``pixels`` has the outlines of these pixels. Neither contains the map's class, because labellers must not know
it (Olofsson et al. 2014, section 4). The strata are in the file's metadata, with a checksum of the map's
classes at the points, so that a sample cannot be used for another map by mistake.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray
from rasterio.transform import Affine

from geoseg.assess.area import allocate
from geoseg.assess.compare import IDS, WINDOW
from geoseg.classes import IGNORE, NODATA, LandClass, complete_legend
from geoseg.errors import InputError, SceneError
from geoseg.grid import Window, tiles
from geoseg.labels.polygons import find_column
from geoseg.labels.values import make_table
from geoseg.maps.class_map_file import ClassMapFile
from geoseg.omissions import Omission
from geoseg.polygons.writers.crs import layer_crs
from geoseg.progress import Bar, Silent
from geoseg.raster.source import file_name
from geoseg.redaction import redacted
from geoseg.scene.vector import list_layers, read_rows, vector_errors

LAYER = "sample"
OUTLINES = "pixels"
VERSION = 1
METADATA = "GEOSEG_SAMPLE"
COLUMNS = ("id", "row", "col", "reference", "note")
_OPEN, _DONE = "230,80,0,255", "90,150,110,255"
"""Colours of points to label and of labelled points, as QGIS writes them."""
# Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators": the mixer of SplitMix64.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True, eq=False)
class DrawnSample:
    """A sample of pixels, in an order that does not reveal their classes.

    Attributes:
        rows: Row of each sampled pixel, int64.
        columns: Its column.
        classes: Its class in the map, which is its stratum.
        pixels: Pixels of each class id in the map, int64 (256,).
        areas: Hectares of each class id; pixels where the map has no CRS.
        confidence: Mean confidence of each class id, 0-1, NaN where it is unknown.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    classes: NDArray[np.uint8]
    pixels: NDArray[np.int64]
    areas: NDArray[np.float64]
    confidence: NDArray[np.float64]


def random_numbers(seed: int, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Compute the random numbers of pixels, uint64, uniform."""
    place = (rows.astype(np.uint64) << np.uint64(32)) | columns.astype(np.uint64)
    start = _mix(np.array([seed % 2**64], np.uint64))
    return _mix(_mix(place ^ start) + start)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = values + _GOLDEN
    mixed ^= mixed >> np.uint64(30)
    mixed *= _MIX_1
    mixed ^= mixed >> np.uint64(27)
    mixed *= _MIX_2
    mixed ^= mixed >> np.uint64(31)
    return mixed


class _Smallest:
    """The pixels of each class with the smallest numbers so far."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = np.full(IDS, np.iinfo(np.uint64).max, np.uint64)
        self.kept: dict[int, NDArray[np.uint64]] = {}

    def add(self, classes: NDArray[np.uint8], numbers: NDArray[np.uint64], window: Window) -> None:
        row, col = np.nonzero((classes != NODATA) & (numbers <= self.limit[classes]))
        found = np.stack(
            [numbers[row, col], (row + window.row).astype(np.uint64), (col + window.col).astype(np.uint64)]
        )
        ids = classes[row, col]
        for value in np.unique(ids).tolist():
            known = self.kept.get(value, np.zeros((3, 0), np.uint64))
            both = np.concatenate([known, found[:, ids == value]], axis=1)
            both = both[:, np.lexsort(both[::-1])[: self.most]]
            self.kept[value] = both
            if both.shape[1] == self.most:
                self.limit[value] = both[0, -1]


def draw_sample(
    class_map: ClassMapFile,
    total: int,
    *,
    seed: int = 0,
    window_size: int = WINDOW,
    bar: Bar | None = None,
) -> DrawnSample:
    """Draw a sample of a map's pixels, stratified by its classes.

    Args:
        class_map: The map.
        total: Pixels to draw; ``allocate`` shares them out among the classes.
        seed: Seed of the random numbers.
        window_size: Side of the windows that are read, in pixels; never changes the sample.
        bar: Shows how far it is, in megapixels.

    Raises:
        InputError: If the map is empty, or ``total`` is too small.
        RunError: If the map cannot be read.
    """
    bar = bar or Silent()
    smallest = _Smallest(total)
    pixels = np.zeros(IDS, np.int64)
    areas = np.zeros(IDS)
    percent, with_confidence = np.zeros(IDS), np.zeros(IDS)
    pixel_sizes = class_map.pixel_sizes()
    for window in tiles(class_map.shape, window_size):
        classes = class_map.read(window)
        bar.advance(window.pixels / 1e6)
        flat = classes.ravel()
        if (flat == NODATA).all():
            continue
        pixels += np.bincount(flat, minlength=IDS)
        if pixel_sizes is not None:
            sizes = pixel_sizes.pixel_areas(window.row, window.col, *window.shape)
            areas += np.bincount(flat, sizes.ravel(), IDS)
        if class_map.confidence is not None:
            values = class_map.read_confidence(window).ravel()
            known = values != NODATA
            percent += np.bincount(flat[known], values[known], IDS)
            with_confidence += np.bincount(flat[known], minlength=IDS)
        rows, cols = (np.arange(n, dtype=np.int64) for n in window.shape)
        numbers = random_numbers(seed, rows[:, None] + window.row, cols[None, :] + window.col)
        smallest.add(classes, numbers, window)
    pixels[NODATA] = areas[NODATA] = 0
    if not pixels.any():
        raise InputError(f"{class_map.path} holds only nodata; there is nothing to sample")
    share = allocate(total, pixels)
    chosen = [(smallest.kept[value][:, : share[value]], value) for value in np.flatnonzero(share).tolist()]
    numbers, rows, cols = np.concatenate([part for part, _ in chosen], axis=1)
    classes = np.concatenate([np.full(part.shape[1], value, np.uint8) for part, value in chosen])
    order = np.argsort(_mix(numbers), kind="stable")
    unknown = np.full(IDS, np.nan)
    confidence = np.divide(percent, with_confidence * 100, out=unknown, where=with_confidence > 0)
    return DrawnSample(
        rows=rows[order].astype(np.int64),
        columns=cols[order].astype(np.int64),
        classes=classes[order],
        pixels=pixels,
        areas=areas * pixel_sizes.area_unit if pixel_sizes is not None else pixels.astype(np.float64),
        confidence=confidence,
    )


@dataclass(frozen=True, eq=False)
class FilledSample:
    """A labelled sample.

    Attributes:
        path: The file.
        labels: Class id of each labelled point, uint8.
        classes: The map's class at that point, uint8.
        drawn: Number of points in the file.
        column: Column with the labels.
        warnings: What the user should know.
        omissions: What of the file is left out.
    """

    path: str
    labels: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    drawn: int
    column: str
    warnings: tuple[str, ...] = field(default=())
    omissions: tuple[Omission, ...] = ()


def write_sample(path: Path, drawn: DrawnSample, class_map: ClassMapFile, seed: int) -> None:
    """Write a drawn sample as a GeoPackage.

    Args:
        path: A file that does not exist yet.
        drawn: The sample.
        class_map: The map it was drawn from.
        seed: The seed it was drawn with.
    """
    import geopandas
    import shapely

    transform = class_map.georeference.transform or Affine.scale(1, -1)
    crs = layer_crs(class_map.georeference.map_crs, "GPKG")

    def at(cols: Any, rows: Any) -> Any:
        x = transform.a * cols + transform.b * rows + transform.c
        return np.column_stack([x, transform.d * cols + transform.e * rows + transform.f])

    rows, cols = drawn.rows.astype(np.float64), drawn.columns.astype(np.float64)
    ids = np.arange(1, rows.size + 1)
    points = geopandas.GeoDataFrame(
        {
            "id": ids,
            "row": drawn.rows,
            "col": drawn.columns,
            "reference": np.full(ids.size, None),
            "note": np.full(ids.size, None),
        },
        geometry=shapely.points(at(cols + 0.5, rows + 0.5)),
        crs=crs,
    ).astype({"reference": "string", "note": "string"})
    corners = [at(cols + dc, rows + dr) for dr, dc in ((0, 0), (0, 1), (1, 1), (1, 0), (0, 0))]
    squares = geopandas.GeoDataFrame(
        {"id": ids}, geometry=shapely.polygons(np.stack(corners, axis=1)), crs=crs
    )
    content = _metadata(drawn, class_map, seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        points.to_file(path, layer=LAYER, layer_metadata={METADATA: json.dumps(redacted(content))})
        squares.to_file(path, layer=OUTLINES, mode="a")
    legend = complete_legend(class_map.legend, np.flatnonzero(drawn.pixels).tolist())
    write_styles(path, {LAYER: _points_qml(legend), OUTLINES: _outlines_qml()}, "labelling")


def _metadata(drawn: DrawnSample, class_map: ClassMapFile, seed: int) -> dict[str, Any]:
    names = {item.id: item.name for item in class_map.legend}
    counts = np.bincount(drawn.classes, minlength=256)
    return {
        "version": VERSION,
        "map": file_name(class_map.path),
        "shape": list(class_map.shape),
        "seed": seed,
        "checksum": _checksum(drawn.classes),
        "strata": [
            {
                "id": value,
                "name": names.get(value, f"class {value}"),
                "pixels": int(drawn.pixels[value]),
                "drawn": int(counts[value]),
            }
            for value in np.flatnonzero(drawn.pixels).tolist()
        ],
    }


def _checksum(classes: NDArray[np.uint8]) -> str:
    return hashlib.sha256(classes.astype(np.uint8).tobytes()).hexdigest()[:16]


def is_sample(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is a sample that ``write_sample`` wrote, also after it was edited or converted."""
    name = os.fspath(path)
    try:
        layer = _layer_of_points(name)
        return layer is not None and {"row", "col", "reference"} <= set(read_rows(name, layer)[0].columns)
    except vector_errors():
        return False


def _layer_of_points(name: str) -> str | None:
    """Find the layer of a sample in a vector file; None if it cannot be one."""
    layers = dict(list_layers(name))
    layer = LAYER if LAYER in layers else next(iter(layers), None)
    return layer if layer is not None and re.search("Point|Unknown", layers[layer]) else None


def read_sample(
    path: str | os.PathLike[str],
    class_map: ClassMapFile,
    classes: Sequence[LandClass],
    *,
    column: str | None = None,
    remap: Mapping[int | str, int] | None = None,
    ignore: Sequence[int | str] = (),
) -> FilledSample:
    """Read a labelled sample.

    Args:
        path: The file.
        class_map: The map it was drawn from.
        classes: The classes that labels may name, by name or id.
        column: Column with the labels; default ``reference``.
        remap: Value or name -> class id, as for ``open_labels``.
        ignore: Labels that mean no label, such as "unsure".

    Raises:
        InputError: If no point is labelled, a label is not a class, or the sample is of another map.
    """
    import pandas

    name = os.fspath(path)
    layer = _layer_of_points(name)
    assert layer is not None  # ``is_sample`` told the caller
    table = read_rows(name, layer)[0]
    column = find_column(name, list(table.columns), column or "reference")
    if "id" in table:
        table = table.sort_values("id", kind="stable")
    places = table[["row", "col"]].apply(pandas.to_numeric, errors="coerce").to_numpy(np.float64)
    if not np.isfinite(places).all():
        raise InputError(f"{name} has points without a number in row or col; delete them, or draw it again")
    rows, cols = places.astype(np.int64).T
    shown = _values_at(class_map, rows, cols, name)
    notes = _check_origin(name, layer, shown, class_map)
    meanings = make_table(name, classes, remap=remap, ignore=ignore)
    filled = [None if value is None or not str(value).strip() else value for value in table[column]]
    labels = np.array([meanings.id_of_attribute(value) for value in filled], np.uint8)
    known = labels != IGNORE
    if not known.any():
        raise InputError(f"{name}: no point has a label yet; fill in the column {column} (QGIS can edit it)")
    unlabelled = Omission(
        "rows",
        name,
        int(np.count_nonzero(~known)),
        known.size,
        "points",
        "they have no label; the estimates hold if they were left out by chance",
        refuses=False,
    )
    omissions = () if known.all() else (unlabelled,)
    return FilledSample(name, labels[known], shown[known], known.size, column, tuple(notes), omissions)


def _values_at(
    class_map: ClassMapFile, rows: NDArray[np.int64], cols: NDArray[np.int64], name: str
) -> NDArray[np.uint8]:
    """Read the map's classes at pixels, in the order of the file's blocks."""
    height, width = class_map.shape
    if rows.size == 0 or rows.min() < 0 or cols.min() < 0 or rows.max() >= height or cols.max() >= width:
        raise SceneError(f"{name} has points beyond {class_map.path}; give the map it was drawn from")
    values = np.empty(rows.size, np.uint8)
    for i in np.lexsort([cols, rows, cols // 512, rows // 512]):
        values[i] = class_map.read(Window(int(rows[i]), int(cols[i]), 1, 1))[0, 0]
    return values


def _check_origin(name: str, layer: str, shown: NDArray[np.uint8], class_map: ClassMapFile) -> list[str]:
    """Refuse a sample of another map; return warnings."""
    import pyogrio

    found = pyogrio.read_info(name, layer=layer).get("layer_metadata") or {}
    try:
        record = json.loads(found[METADATA])
        checksum, drawn_from = record["checksum"], record["map"]
    except (KeyError, TypeError, ValueError):
        if (shown == NODATA).any():
            raise InputError(
                f"{name} was drawn from another map: it has points where {class_map.path} is nodata"
            ) from None
        return [f"{name} has lost the record of its map; it is assumed to be drawn from {class_map.path}"]
    if checksum != _checksum(shown):
        raise InputError(
            f"{name} was drawn from another map ({drawn_from}), or points were removed, so its "
            f"strata are not those of {class_map.path}; draw a sample from this map, or evaluate that one"
        )
    return []


def write_styles(path: Path, styles: Mapping[str, str], name: str) -> None:
    """Put default styles into a GeoPackage, in the table where QGIS keeps them.

    Args:
        path: The GeoPackage, without styles; its geometry columns are named ``geom``.
        styles: Layer -> style as QML.
        name: Name of the styles in QGIS.
    """
    import pandas
    import pyogrio

    rows = [
        {
            "f_table_catalog": "",
            "f_table_schema": "",
            "f_table_name": layer,
            "f_geometry_column": "geom",
            "styleName": name,
            "styleQML": qml,
            "styleSLD": "",
            "useAsDefault": True,
            "description": "",
            "owner": "",
            "ui": "",
            "update_time": "2000-01-01T00:00:00Z",
        }
        for layer, qml in styles.items()
    ]
    pyogrio.write_dataframe(pandas.DataFrame(rows), path, layer="layer_styles", append=False)


def _points_qml(legend: Sequence[LandClass]) -> str:
    """Build the style of the points: a list of classes to choose from, and a colour for unlabelled points."""
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology|Fields|Forms")
    renderer = ET.SubElement(root, "renderer-v2", type="RuleRenderer", symbollevels="0", enableorderby="0")
    rules = ET.SubElement(renderer, "rules", key="{sample}")
    symbols = ET.SubElement(renderer, "symbols")
    empty = '"reference" IS NULL OR "reference" = \'\''
    for number, (label, rule, color) in enumerate((("to do", empty, _OPEN), ("labelled", "ELSE", _DONE))):
        key = f"{{sample-{number}}}"
        ET.SubElement(rules, "rule", key=key, symbol=str(number), label=label, filter=rule)
        _symbol(
            symbols,
            number,
            "marker",
            "SimpleMarker",
            {"name": "cross", "size": "4", "outline_color": color, "outline_width": "0.5"},
        )
    add_choices(root, "reference", [item.name for item in legend])
    return ET.tostring(root, encoding="unicode")


def _outlines_qml() -> str:
    """Build the style of the pixels: an outline that hides nothing."""
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology")
    add_outline(root, "255,255,0,255", "0.4")
    return ET.tostring(root, encoding="unicode")


def add_outline(root: ET.Element, color: str, width: str) -> None:
    """Add a renderer to a style that draws outlines alone.

    Args:
        root: The style.
        color: Red, green, blue and alpha, as QGIS writes them.
        width: Millimetres.
    """
    renderer = ET.SubElement(root, "renderer-v2", type="singleSymbol", symbollevels="0", enableorderby="0")
    line = {"style": "no", "outline_color": color, "outline_width": width, "outline_style": "solid"}
    _symbol(ET.SubElement(renderer, "symbols"), 0, "fill", "SimpleFill", line)


def add_choices(root: ET.Element, column: str, values: Sequence[str]) -> None:
    """Add a form to a style in which the values of a column are picked from a list."""
    fields = ET.SubElement(root, "fieldConfiguration")
    field = ET.SubElement(fields, "field", name=column, configurationFlags="None")
    config = ET.SubElement(ET.SubElement(field, "editWidget", type="ValueMap"), "config")
    choices = ET.SubElement(ET.SubElement(config, "Option", type="Map"), "Option", name="map", type="List")
    for value in values:
        choice = ET.SubElement(choices, "Option", type="Map")
        ET.SubElement(choice, "Option", name=value, type="QString", value=value)


def _symbol(symbols: ET.Element, number: int, kind: str, layer: str, options: dict[str, str]) -> None:
    symbol = ET.SubElement(symbols, "symbol", type=kind, name=str(number), alpha="1", clip_to_extent="1")
    inside = ET.SubElement(symbol, "layer", {"class": layer, "enabled": "1", "locked": "0", "pass": "0"})
    values = ET.SubElement(inside, "Option", type="Map")
    for name, value in options.items():
        ET.SubElement(values, "Option", name=name, type="QString", value=value)
