"""Count labels by class, and by whether they train or validate, in one pass over scenes and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import IGNORE
from geoseg.grid import Window
from geoseg.progress import Bar
from geoseg.raster.patches import find_patches
from geoseg.raster.pixel_sizes import measure_pixel_sizes
from geoseg.training.ground.folds import Split
from geoseg.training.ground.labelled_scene import LabelledScene


@dataclass(frozen=True, eq=False)
class LabelStatistics:
    """Counts of labels; arrays have one number a class, by index, int64.

    Labels on nodata are not used in training and are counted separately.

    Attributes:
        pixels: Labelled pixels.
        hectares: Their ellipsoidal area, float64; None where a scene has no CRS.
        patches: Connected patches.
        regions: Parts of the split that hold the class.
        training_regions: Those of them that train.
        training: Pixels that train.
        validation: Pixels that validate.
        valid: Valid pixels of the scenes.
        on_nodata: Labelled pixels that are not valid.
        in_rim: Labels that are ignored because of the rim.
        empty_bands: Indices of bands without a valid pixel that trains.
    """

    pixels: NDArray[np.int64]
    hectares: NDArray[np.float64] | None
    patches: NDArray[np.int64]
    regions: NDArray[np.int64]
    training_regions: NDArray[np.int64]
    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    valid: int
    on_nodata: int
    in_rim: int
    empty_bands: tuple[int, ...]

    @property
    def labelled(self) -> int:
        """Valid pixels with a label."""
        return int(self.pixels.sum())


def measure_statistics(
    scenes: Sequence[LabelledScene],
    split: Split | None,
    bar: Bar,
) -> LabelStatistics:
    """Count labels by class, and by whether they train or validate.

    Args:
        scenes: Scenes and labels.
        split: The split; None if there is none, and then no pixel trains or validates.
        bar: Shows how far it is, in megapixels.

    Raises:
        InputError: If a label is not a class.
        RunError: If a file cannot be read.
    """
    parts = []
    for number, scene in enumerate(scenes):
        part = _SceneStatistics(number, scene, split)
        for window in scene.windows():
            part.add(window)
            bar.advance(window.pixels / 1e6)
        parts.append(part)
    areas = [part.hectares for part in parts]
    used = np.sum([part.band_values for part in parts], axis=0)
    return LabelStatistics(
        pixels=_sum([part.pixels for part in parts]),
        hectares=np.sum(areas, axis=0) if all(part.pixel_sizes is not None for part in parts) else None,
        patches=_sum([part.patches() for part in parts]),
        regions=_sum([part.regions(training=False) for part in parts]),
        training_regions=_sum([part.regions(training=True) for part in parts]),
        training=_sum([part.training for part in parts]),
        validation=_sum([part.validation() for part in parts]),
        valid=sum(part.valid for part in parts),
        on_nodata=sum(part.on_nodata for part in parts),
        in_rim=sum(part.in_rim for part in parts),
        empty_bands=tuple(np.flatnonzero(used == 0).tolist()) if split is not None else (),
    )


def _sum(counts: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    total: NDArray[np.int64] = np.sum(counts, axis=0, dtype=np.int64)
    return total


class _SceneStatistics:
    """The counts of one scene."""

    def __init__(self, number: int, scene: LabelledScene, split: Split | None) -> None:
        self.number, self.scene, self.split = number, scene, split
        place = scene.image.georeference
        self.pixel_sizes = measure_pixel_sizes(place.crs, place.transform, scene.shape)
        self.here = [] if split is None else [one for one in split.regions if one.scene == number]
        self.classes = len(scene.class_ids)
        self.pixels, self.training = np.zeros((2, self.classes), np.int64)
        self.hectares = np.zeros(self.classes)
        self.inside = np.zeros((len(self.here), self.classes), np.int64)
        self.band_values = np.zeros(len(scene.image.bands), np.int64)
        self.valid = self.on_nodata = self.in_rim = 0

    def add(self, window: Window) -> None:
        """Count a window."""
        scene = self.scene
        raw = scene.image.read_raw(window)
        valid = raw.valid(scene.image.invalid_where)
        labels = scene.read_labels(window)
        known = labels != IGNORE
        if scene.rim:
            whole = replace(scene, rim=0).read_labels(window)
            self.in_rim += int(np.count_nonzero((whole != IGNORE) & ~known))
        self.valid += int(np.count_nonzero(valid))
        self.on_nodata += int(np.count_nonzero(known & ~valid))
        labels[~valid] = IGNORE
        self.pixels += self._by_class(labels)
        if self.pixel_sizes is not None and known.any():
            sizes = (
                self.pixel_sizes.pixel_areas(window.row, window.col, *window.shape)
                * self.pixel_sizes.area_unit
            )
            self.hectares += np.bincount(labels.ravel(), sizes.ravel(), 256)[: self.classes]
        if self.split is not None:
            self._count_split(self.split, window, labels, valid & ~raw.missing)

    def _count_split(
        self, split: Split, window: Window, labels: NDArray[np.uint8], has_value: NDArray[np.bool_]
    ) -> None:
        trains = split.trains(self.number, window)
        self.training += self._by_class(labels[trains])
        self.band_values += np.count_nonzero(has_value[:, trains], axis=1)
        for i, region in enumerate(self.here):
            common = region.window.intersection(window)
            if common is not None:
                part = labels[common.slices(window)]
                self.inside[i] += self._by_class(part[region.mask(common)])

    def _by_class(self, labels: NDArray[np.uint8]) -> NDArray[np.int64]:
        counted: NDArray[np.int64] = np.bincount(labels.ravel(), minlength=256)[: self.classes]
        return counted

    def regions(self, *, training: bool) -> NDArray[np.int64]:
        """Count the regions that hold each class; only those that train, or all."""
        wanted = [not training or self._trains(i) for i in range(len(self.here))]
        return _sum([*(self.inside[np.array(wanted, bool)] > 0), np.zeros(self.classes, np.int64)])

    def validation(self) -> NDArray[np.int64]:
        """Count the pixels of each class that validate."""
        wanted = [not self._trains(i) for i in range(len(self.here))]
        return _sum([*self.inside[np.array(wanted, bool)], np.zeros(self.classes, np.int64)])

    def _trains(self, region: int) -> bool:
        return self.split is not None and self.here[region].fold != self.split.fold

    def patches(self) -> NDArray[np.int64]:
        """Count the patches of each class, including those on nodata."""
        return find_patches(self.scene.read_labels, self.scene.shape).counts[: self.classes]
