"""One table for each verb and each kind: how some of it is left out, or why the verb can lose none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely

import geoseg
from geoseg.progress import Progress
from geoseg.training.label_check.check import check_labels
from geoseg.verbs.quantize import quantize_model
from tests.assess.maps import NAMES, patches, write
from tests.conftest import make_scene, save_tiny
from tests.training.training_runs import RECIPE

VERBS = ("predict", "polygonize", "evaluate", "train", "quantize", "inspect")
KINDS = ("rows", "pixels", "bands", "classes", "dates")
MANY_NAMES = [(value, f"class {value}", (value, value, value)) for value in range(1, 151)]

LeftOut = list[Mapping[str, Any]]


@dataclass(frozen=True)
class Case:
    """An input that loses some.

    Attributes:
        run: Runs the verb on the input in a folder, with ``progress`` and ``force``; returns what was left out.
        few: Makes an input that loses less than 1 %; None if there can be none.
        many: Makes an input that loses more.
        line: What the line of ``few``, or else of ``many``, says.
        counts: Count and total in the report of ``few``, or else of ``many``.
        refuses: Whether ``many`` is refused without ``force``.
    """

    run: Callable[[Path, Progress, bool], LeftOut]
    few: Callable[[Path], object] | None
    many: Callable[[Path], object]
    line: str
    counts: tuple[int, int]
    refuses: bool = True


def whole_scene(folder: Path) -> Path:
    """A scene of 150 x 130 pixels, with a value everywhere."""
    return make_scene(folder / "scene.tif", holes=False)


def label_rows(boxes: int) -> Callable[[Path], None]:
    """Make polygons over the scene, and one row that is a line."""

    def make(folder: Path) -> None:
        whole_scene(folder)
        shapes = [shapely.box(500_000 + 8 * i, 5_198_500, 500_008 + 8 * i, 5_200_000) for i in range(boxes)]
        shapes.append(shapely.LineString([(500_000, 5_199_000), (501_000, 5_199_000)]))
        table = geopandas.GeoDataFrame({"class": [5] * len(shapes)}, geometry=shapes, crs=32614)
        table.to_file(folder / "rows.gpkg")
        with rasterio.open(folder / "scene.tif") as scene:
            place = {"crs": scene.crs, "transform": scene.transform}
        write(folder / "map.tif", np.full((150, 130), 5, np.uint8), **place)

    return make


def scene_lacking(rows: int, cols: int) -> Callable[[Path], None]:
    """Make a scene whose second band has nothing in a part."""

    def make(folder: Path) -> None:
        with rasterio.open(whole_scene(folder), "r+") as scene:
            values = scene.read(2)
            values[:rows, :cols] = -9999
            scene.write(values, 2)

    return make


def scene_of_two_days(folder: Path) -> None:
    """Make two bands in files of two days, and labels."""
    whole_scene(folder)
    for number, day in ((1, "2021-07-05"), (2, "2021-07-09")):
        with rasterio.open(folder / "scene.tif") as scene:
            profile, values = scene.profile | {"count": 1}, scene.read(number)
            name = scene.descriptions[number - 1]
        with rasterio.open(folder / f"{name}.tif", "w", **profile) as one:
            one.write(values, 1)
            one.descriptions, one.scales = (name,), (0.0001,)
            one.update_tags(ACQUISITION_DATE=day)
    labels(folder, patches(np.random.default_rng(1), (150, 130), 10, [2, 5, 7]))


def labels(folder: Path, values: np.ndarray, **profile: Any) -> None:
    """Write labels on the scene's grid."""
    with rasterio.open(folder / "scene.tif") as scene:
        place = {"crs": scene.crs, "transform": scene.transform}
    write(folder / "labels.tif", values, **(place | profile))


def labels_of_a_mask(folder: Path) -> None:
    """Make labels of 0 and 255, which is not declared."""
    whole_scene(folder)
    labels(folder, patches(np.random.default_rng(1), (150, 130), 10, [0, 255]), nodata=None)


def labels_with_255(folder: Path) -> None:
    """Make labels of classes, and 30 pixels of 255."""
    whole_scene(folder)
    values = patches(np.random.default_rng(1), (150, 130), 10, [2, 5, 7])
    values[0, :30] = 255
    labels(folder, values, nodata=None)


def labels_with_a_class_as_nodata(folder: Path) -> None:
    """Make labels whose nodata is one of the classes."""
    whole_scene(folder)
    labels(folder, patches(np.random.default_rng(1), (150, 130), 10, [2, 5, 7]), nodata=2)


def map_with_gaps(count: int) -> Callable[[Path], None]:
    """Make a map, labels, and a confidence that lacks some pixels."""

    def make(folder: Path) -> None:
        values = patches(np.random.default_rng(0), (60, 50), 6, [1, 2, 7])
        sure = np.full(values.shape, 80, np.uint8)
        sure.flat[:count] = 255
        write(folder / "map.tif", values, names=NAMES)
        write(folder / "labels.tif", values)
        write(folder / "sure.tif", sure)

    return make


def map_with_a_class_as_nodata(names: list[Any]) -> Callable[[Path], None]:
    """Make a map whose nodata is a named class."""

    def make(folder: Path) -> None:
        values = patches(np.random.default_rng(0), (60, 50), 6, [1, 2, 7])
        write(folder / "map.tif", values, nodata=2, names=names)
        write(folder / "labels.tif", values)

    return make


def map_of_a_day_that_is_none(folder: Path) -> None:
    """Make a map whose tag of the date is no date."""
    write(folder / "map.tif", patches(np.random.default_rng(0), (60, 50), 6, [1, 2, 7]))
    with rasterio.open(folder / "map.tif", "r+") as file:
        file.update_tags(ACQUISITION_DATE="5 July 21")


def predict(scene: str = "scene.tif", rule: str = "all", **files: str) -> Callable[..., LeftOut]:
    def run(folder: Path, progress: Progress, force: bool) -> LeftOut:
        model = save_tiny(folder / rule, invalid_where=rule)
        made = geoseg.predict(
            [folder / name for name in scene.split()],
            folder / "out.tif",
            model=model,
            backend="torch",
            force=force,
            progress=progress,
            **{option: folder / name for option, name in files.items()},
        )
        return made.report["left_out"]

    return run


def polygonize(**files: str) -> Callable[..., LeftOut]:
    def run(folder: Path, progress: Progress, force: bool) -> LeftOut:
        given = {option: folder / name for option, name in files.items()}
        made = geoseg.polygonize(
            folder / "map.tif", folder / "out.gpkg", force=force, progress=progress, **given
        )
        return made.report["left_out"]

    return run


def evaluate(truth: str, **files: str) -> Callable[..., LeftOut]:
    def run(folder: Path, progress: Progress, force: bool) -> LeftOut:
        given = {option: folder / name for option, name in files.items()}
        made = geoseg.evaluate(folder / "map.tif", folder / truth, force=force, progress=progress, **given)
        return made.report["left_out"]

    return run


def train(truth: str, scene: str = '"scene.tif"') -> Callable[..., LeftOut]:
    """As far as training decides whether to begin, with all other findings left aside."""

    def run(folder: Path, progress: Progress, force: bool) -> LeftOut:
        text = RECIPE.replace("scene_labels.tif", truth).replace('"scene.tif"', scene)
        (folder / "r.toml").write_text(text.replace('"40px"', '"20px"').replace('"4px"', '"1px"'))
        found = check_labels(folder / "r.toml")
        kept = [finding for finding in found.findings if finding.level != "stop"]
        return replace(found, findings=tuple(kept)).settle(progress, force=force)

    return run


def quantize(rule: str = "all", **files: str) -> Callable[..., LeftOut]:
    def run(folder: Path, progress: Progress, force: bool) -> LeftOut:
        model = save_tiny(folder / rule, invalid_where=rule)
        given = {option: folder / name for option, name in files.items()}
        given |= {"labels": [given["labels"]]} if "labels" in given else {}
        made = quantize_model(
            model, [folder / "scene.tif"], folder / "out", chips=1, force=force, progress=progress, **given
        )
        return list(made.left_out)

    return run


def inspect(scene: str) -> Callable[..., LeftOut]:
    def run(folder: Path, progress: Progress, _force: bool) -> LeftOut:
        found = geoseg.inspect([folder / name for name in scene.split()], model=save_tiny(folder / "model"))
        for line in found.text().splitlines():
            progress.say(line)
        return found.to_json()["scene"]["left_out"]

    return run


NO_AREA = "1 of 151 rows"
CELLS: dict[tuple[str, str], Case | str] = {
    ("predict", "rows"): Case(
        predict(aoi="rows.gpkg"), label_rows(150), label_rows(3), f"rows.gpkg: {NO_AREA}", (1, 151)
    ),
    ("predict", "pixels"): Case(
        predict(rule="any"), scene_lacking(9, 10), scene_lacking(20, 130), "90 of 19,500 pixels", (90, 19500)
    ),
    ("predict", "bands"): Case(
        predict(), scene_lacking(9, 10), scene_lacking(120, 130), "90 of 39,000 values of bands", (90, 39000)
    ),
    ("predict", "classes"): "a map can hold every class of the model; which it does is the answer",
    ("predict", "dates"): Case(
        predict("red.tif nir.tif"), None, scene_of_two_days, "of 2021-07-05 and 2021-07-09", (2, 2), False
    ),
    ("polygonize", "rows"): "it reads no rows; those that a filter leaves out are what was asked for",
    ("polygonize", "pixels"): Case(
        polygonize(confidence="sure.tif"),
        map_with_gaps(5),
        map_with_gaps(300),
        "5 of 3,000 pixels",
        (5, 3000),
    ),
    ("polygonize", "bands"): "a map has one band; bands of probabilities that fit no class are refused",
    ("polygonize", "classes"): Case(
        polygonize(),
        map_with_a_class_as_nodata(MANY_NAMES),
        map_with_a_class_as_nodata(NAMES),
        "1 of 150 classes left out",
        (1, 150),
    ),
    ("polygonize", "dates"): Case(
        polygonize(), None, map_of_a_day_that_is_none, '"5 July 21", is no date', (1, 1), False
    ),
    ("evaluate", "rows"): Case(
        evaluate("rows.gpkg"), label_rows(150), label_rows(3), f"rows.gpkg: {NO_AREA}", (1, 151)
    ),
    ("evaluate", "pixels"): Case(
        evaluate("labels.tif", confidence="sure.tif"),
        map_with_gaps(5),
        map_with_gaps(300),
        "5 of 3,000 compared pixels",
        (5, 3000),
    ),
    ("evaluate", "bands"): "maps and labels have one band; others are refused",
    ("evaluate", "classes"): Case(
        evaluate("labels.tif"),
        map_with_a_class_as_nodata(MANY_NAMES),
        map_with_a_class_as_nodata(NAMES),
        "1 of 150 classes left out",
        (1, 150),
    ),
    ("evaluate", "dates"): "scores have no date",
    ("train", "rows"): Case(
        train("rows.gpkg"), label_rows(150), label_rows(3), f"rows.gpkg: {NO_AREA}", (1, 151)
    ),
    ("train", "pixels"): Case(
        train("labels.tif"), labels_with_255, labels_of_a_mask, "30 of 19,500 pixels", (30, 19500)
    ),
    ("train", "bands"): "a scene without a band of the recipe, or with an empty one, is refused",
    ("train", "classes"): Case(
        train("labels.tif"), None, labels_with_a_class_as_nodata, "1 of 3 classes left out", (1, 3)
    ),
    ("train", "dates"): Case(
        train("labels.tif", '[["red.tif", "nir.tif"]]'),
        None,
        scene_of_two_days,
        "of 2021-07-05 and 2021-07-09",
        (2, 2),
        False,
    ),
    ("quantize", "rows"): Case(
        quantize(aoi="rows.gpkg"), label_rows(150), label_rows(3), f"rows.gpkg: {NO_AREA}", (1, 151)
    ),
    ("quantize", "pixels"): Case(
        quantize(rule="any"), scene_lacking(9, 10), scene_lacking(20, 130), "90 of 19,500 pixels", (90, 19500)
    ),
    ("quantize", "bands"): Case(
        quantize(), scene_lacking(9, 10), scene_lacking(120, 130), "90 of 39,000 values of bands", (90, 39000)
    ),
    ("quantize", "classes"): Case(
        quantize(labels="labels.tif"), None, labels_with_a_class_as_nodata, "1 of 3 classes left out", (1, 3)
    ),
    ("quantize", "dates"): "networks have no date",
    ("inspect", "rows"): "it reads no rows",
    ("inspect", "pixels"): "it samples; what predict would refuse is a finding, and it exits with 2",
    ("inspect", "bands"): "it samples; what predict would refuse is a finding, and it exits with 2",
    ("inspect", "classes"): "it maps nothing",
    ("inspect", "dates"): Case(
        inspect("red.tif nir.tif"), None, scene_of_two_days, "of 2021-07-05 and 2021-07-09", (2, 2), False
    ),
}
"""Verb and kind -> a case, or why there is none."""
