"""The file of a drawn sample: written for people to label in QGIS, and read back.

Two layers. ``sample`` holds one point for each sampled pixel with the columns to fill in; ``pixels`` shows
the outline of what is to be judged. Neither says what the map shows there: who labels should not know it
(Olofsson et al. 2014, section 4). The strata are in the file's metadata, with a checksum of the map's classes
at the points, so that a sample cannot be used for another map by mistake.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.transform import Affine

from geoseg.assess.classmap import ClassMap
from geoseg.assess.draw import Drawn
from geoseg.assess.sample_style import add_styles
from geoseg.classes import IGNORE, NODATA, LandClass, complete_legend
from geoseg.errors import InputError, SceneError
from geoseg.grid import Window
from geoseg.labels.values import make_table

LAYER = "sample"
OUTLINES = "pixels"
VERSION = 1
METADATA = "GEOSEG_SAMPLE"
COLUMNS = ("id", "row", "col", "reference", "note")


@dataclass(frozen=True, eq=False)
class FilledSample:
    """A sample that somebody labelled.

    Attributes:
        path: The file.
        labels: Class id of each labelled point, uint8.
        classes: The map's class there, uint8.
        drawn: Points in the file.
        column: Where the labels are.
        warnings: What the user should know.
    """

    path: str
    labels: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    drawn: int
    column: str
    warnings: tuple[str, ...] = field(default=())


def write_sample(path: Path, drawn: Drawn, class_map: ClassMap, seed: int) -> None:
    """Write a drawn sample as a GeoPackage.

    Args:
        path: A file that does not exist yet.
        drawn: The sample.
        class_map: The map it was drawn from.
        seed: What it was drawn with.
    """
    import geopandas
    import shapely

    transform = class_map.georeference.transform or Affine.scale(1, -1)
    crs = class_map.georeference.crs
    crs = None if crs is None else crs.to_wkt()

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
        points.to_file(path, layer=LAYER, layer_metadata={METADATA: json.dumps(content)})
        squares.to_file(path, layer=OUTLINES, mode="a")
    legend = complete_legend(class_map.legend, np.flatnonzero(drawn.pixels).tolist())
    add_styles(path, LAYER, OUTLINES, legend)


def _metadata(drawn: Drawn, class_map: ClassMap, seed: int) -> dict[str, Any]:
    names = {item.id: item.name for item in class_map.legend}
    counts = np.bincount(drawn.classes, minlength=256)
    return {
        "version": VERSION,
        "map": os.path.basename(class_map.path),
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
    """Whether a file is a sample that ``write_sample`` wrote, also after it was edited or saved elsewhere."""
    import pyogrio
    import pyogrio.errors

    name = os.fspath(path)
    if not name.lower().endswith((".gpkg", ".geojson", ".shp", ".fgb")):
        return False
    try:
        layers = [layer for layer, _ in pyogrio.list_layers(name)]
        if not layers:
            return False
        info = pyogrio.read_info(name, layer=LAYER if LAYER in layers else layers[0])
    except (pyogrio.errors.DataSourceError, ValueError):
        return False
    is_point = str(info["geometry_type"]).startswith(("Point", "MultiPoint", "3D Point", "Point Z"))
    return is_point and {"row", "col", "reference"} <= set(info["fields"])


def read_sample(
    path: str | os.PathLike[str],
    class_map: ClassMap,
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
        classes: What labels may name, by name or id.
        column: Where the labels are; default ``reference``.
        remap: Value or name -> class id, as for ``open_labels``.
        ignore: Labels that say nothing, such as "unsure".

    Raises:
        InputError: If nothing is filled in, a label is no class, or the sample is of another map.
    """
    import pyogrio

    name = os.fspath(path)
    layers = [layer for layer, _ in pyogrio.list_layers(name)]
    layer = LAYER if LAYER in layers else layers[0]
    table = pyogrio.read_dataframe(name, layer=layer, read_geometry=False)
    column = column or "reference"
    if column not in table:
        raise InputError(f"{name} has no column {column}; it has {', '.join(table.columns)}")
    if "id" in table:
        table = table.sort_values("id", kind="stable")
    rows, cols = table["row"].to_numpy(np.int64), table["col"].to_numpy(np.int64)
    shown = _values_at(class_map, rows, cols, name)
    notes = _check_origin(name, layer, shown, class_map)
    meanings = make_table(name, classes, remap=remap, ignore=ignore)
    filled = [None if value is None or not str(value).strip() else value for value in table[column]]
    labels = np.array([meanings.id_of_attribute(value) for value in filled], np.uint8)
    known = labels != IGNORE
    if not known.any():
        raise InputError(f"{name}: no point has a label yet; fill in the column {column} (QGIS can edit it)")
    if not known.all():
        notes.append(
            f"{int(np.count_nonzero(~known))} of {known.size} points have no label and are left out; the "
            "estimates hold if they were left out by chance"
        )
    return FilledSample(name, labels[known], shown[known], known.size, column, tuple(notes))


def _values_at(
    class_map: ClassMap, rows: NDArray[np.int64], cols: NDArray[np.int64], name: str
) -> NDArray[np.uint8]:
    """The map's classes at pixels, each file block read once."""
    height, width = class_map.shape
    if rows.size == 0 or rows.min() < 0 or cols.min() < 0 or rows.max() >= height or cols.max() >= width:
        raise SceneError(f"{name} has points beyond {class_map.path}; give the map it was drawn from")
    values = np.empty(rows.size, np.uint8)
    for i in np.lexsort([cols, rows, cols // 512, rows // 512]):
        values[i] = class_map.read(Window(int(rows[i]), int(cols[i]), 1, 1))[0, 0]
    return values


def _check_origin(name: str, layer: str, shown: NDArray[np.uint8], class_map: ClassMap) -> list[str]:
    """Warnings; refuses a sample of another map."""
    import pyogrio

    found = pyogrio.read_info(name, layer=layer).get("layer_metadata") or {}
    text = found.get(METADATA)
    if text is None:
        if (shown == NODATA).any():
            raise InputError(f"{name} has points where {class_map.path} is nodata: it is of another map")
        return [f"{name} no longer says which map it was drawn from; it is taken to be {class_map.path}"]
    if json.loads(text)["checksum"] != _checksum(shown):
        raise InputError(
            f"{name} was drawn from another map ({json.loads(text)['map']}), or points were removed, so its "
            f"strata are not those of {class_map.path}; draw a sample from this map, or evaluate that one"
        )
    return []
