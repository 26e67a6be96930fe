"""Write the split beside the model: as JSON for programs, as a GeoPackage for QGIS."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.classes import LandClass
from geoseg.files import encoded, to_json
from geoseg.polygons.writers.crs import layer_crs
from geoseg.training.ground.folds import NO_FOLD, Region, Split
from geoseg.training.ground.labelled_scene import LabelCells, LabelledScene, class_table

JSON_FILE, LAYER_FILE = "split.json", "split.gpkg"


def write_split(
    folder: Path,
    split: Split,
    scenes: Sequence[LabelledScene],
    classes: Sequence[LandClass],
    every: Sequence[LabelCells],
    training: Sequence[LabelCells],
) -> dict[str, Any]:
    """Write the split as JSON and as a GeoPackage.

    Args:
        folder: Folder of the two files.
        split: The split.
        scenes: The scenes.
        classes: The classes, by index.
        every: Counts of all labels.
        training: Counts of the labels that train.

    Returns:
        The content of the JSON file.
    """
    total, trained = (np.sum([one.classes for one in cells], axis=0) for cells in (every, training))
    content = {
        "method": split.method,
        "fold": split.fold,
        "labelled_pixels": {"all": class_table(classes, total), "train": class_table(classes, trained)},
        "scenes": [
            {
                "paths": list(scene.image.paths),
                "shape": list(scene.shape),
                "buffer_px": split.buffers[number],
                "regions": [_entry(region) for region in split.regions if region.scene == number],
            }
            for number, scene in enumerate(scenes)
        ],
    }
    (folder / JSON_FILE).write_bytes(encoded(to_json(content)))
    _write_layers(folder / LAYER_FILE, split, scenes)
    return content


def _role(region: Region, split: Split) -> str:
    if split.fold is None:
        return "held out once" if region.fold != NO_FOLD else "train"
    return "validation" if region.fold == split.fold else "train"


def _entry(region: Region) -> dict[str, Any]:
    window = region.window
    place = {"row": window.row, "col": window.col, "height": window.height, "width": window.width}
    return {"fold": region.fold, **place}


def _write_layers(path: Path, split: Split, scenes: Sequence[LabelledScene]) -> None:
    """Write a layer a scene, in its CRS; without a transform x = column, y = -row, as QGIS draws it."""
    import geopandas

    path.unlink(missing_ok=True)
    taken: set[str] = set()
    for number, scene in enumerate(scenes):
        regions = [region for region in split.regions if region.scene == number]
        if not regions:
            continue
        name = scene.image.name if scene.image.name not in taken else f"{scene.image.name} ({number})"
        taken.add(name)
        table = geopandas.GeoDataFrame(
            {
                "scene": [scene.image.name] * len(regions),
                "fold": [region.fold for region in regions],
                "role": [_role(region, split) for region in regions],
                "buffer_px": [split.buffers[number]] * len(regions),
            },
            geometry=[_on_ground(region, scene) for region in regions],
            crs=layer_crs(scene.image.georeference.map_crs, "GPKG"),
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="'crs' was not provided")
            table.to_file(path, layer=name, driver="GPKG", engine="pyogrio")


def _on_ground(region: Region, scene: LabelledScene) -> Any:
    from shapely import box
    from shapely.affinity import affine_transform

    window = region.window
    shape = region.geometry or box(window.col, window.row, window.col_stop, window.row_stop)
    t = scene.image.georeference.transform
    return affine_transform(shape, [t.a, t.b, t.d, t.e, t.c, t.f] if t is not None else [1, 0, 0, -1, 0, 0])
