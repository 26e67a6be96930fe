"""Count where a map and labels disagree: pixels by label and map class, and a threshold for each class.

Thresholds follow confident learning (Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating
Uncertainty in Dataset Labels", J. Artif. Intell. Res. 70): the threshold of a class is the mean confidence of
the pixels that are mapped and labelled as it. So difficult classes have lower thresholds than easy ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.assess.compare import IDS, WINDOW
from geoseg.classes import IGNORE, NODATA
from geoseg.errors import SceneError
from geoseg.grid import Window, tiles
from geoseg.labels.labels import Labels
from geoseg.maps.class_map_file import ClassMapFile
from geoseg.progress import Bar

PERCENT = 101


@dataclass(frozen=True)
class MapAndLabels:
    """A map and labels on one grid, or labels on the grid of the scene that the map was cut from.

    Attributes:
        class_map: The map and its confidence.
        labels: The labels.
    """

    class_map: ClassMapFile
    labels: Labels

    def __post_init__(self) -> None:
        row, col = self.offset
        rows, cols = self.class_map.shape
        if row < 0 or col < 0 or row + rows > self.labels.shape[0] or col + cols > self.labels.shape[1]:
            raise SceneError(
                f"{self.class_map.path} ({rows} x {cols} pixels from row {row}, column {col} of its scene) "
                f"does not lie on the grid of {self.labels.path} ({self.labels.shape[0]} x "
                f"{self.labels.shape[1]}); give the map of the same scene"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the map."""
        return self.class_map.shape

    @property
    def offset(self) -> tuple[int, int]:
        """Row and column of the map's first pixel on the labels' grid."""
        return (0, 0) if self.labels.shape == self.class_map.shape else self.class_map.origin

    def read_labels(self, window: Window) -> NDArray[np.uint8]:
        """Read the labels in a window of the map, uint8 (rows, columns)."""
        row, col = self.offset
        return self.labels.read(Window(window.row + row, window.col + col, *window.shape))


@dataclass(frozen=True, eq=False)
class Disagreement:
    """Counts of agreement and disagreement.

    Attributes:
        joint: Pixels by label (row) and map class (column), int64 (256, 256).
        agreed: Pixels where both agree, by class and percent of confidence, int64 (256, 101).
    """

    joint: NDArray[np.int64]
    agreed: NDArray[np.int64]

    @property
    def compared(self) -> int:
        """Pixels with a label and a class."""
        return int(self.joint.sum())

    @property
    def contradicted(self) -> int:
        """Compared pixels whose label and class differ."""
        return self.compared - int(np.trace(self.joint))

    def pairs(self) -> NDArray[np.int64]:
        """List the pairs (label, map class) that differ somewhere, int64 (pairs, 2), frequent ones first."""
        different = self.joint.copy()
        np.fill_diagonal(different, 0)
        order = np.argsort(-different, axis=None, kind="stable")[: np.count_nonzero(different)]
        return np.stack(np.unravel_index(order, different.shape), axis=1)

    def thresholds(self) -> NDArray[np.float64]:
        """Compute the least percentage of confidence with which a pixel counts, by map class, float64 (256,).

        A class that no label confirms has the threshold of all classes together; 0 where nothing agrees.
        """
        percent = np.arange(PERCENT)
        count = self.agreed.sum(axis=1)
        overall = float((self.agreed.sum(axis=0) * percent).sum() / max(count.sum(), 1))
        return np.where(count > 0, (self.agreed * percent).sum(axis=1) / np.maximum(count, 1), overall)


def count_disagreement(pair: MapAndLabels, bar: Bar, *, window_size: int = WINDOW) -> Disagreement:
    """Count where a map and labels agree and differ.

    Args:
        pair: The map and the labels.
        bar: Shows how far it is, in megapixels.
        window_size: Side of the windows that are read, in pixels; never changes the counts.

    Raises:
        SceneError: If a file holds a value that is not a class.
        RunError: If a file cannot be read.
    """
    joint, agreed = np.zeros(IDS * IDS, np.int64), np.zeros(IDS * PERCENT, np.int64)
    for window in tiles(pair.shape, window_size):
        shown, labels = pair.class_map.read(window), pair.read_labels(window)
        known = (shown != NODATA) & (labels != IGNORE)
        if known.any():
            joint += np.bincount(labels[known].astype(np.intp) * IDS + shown[known], minlength=IDS * IDS)
            confidence = pair.class_map.read_confidence(window)
            same = known & (shown == labels) & (confidence != NODATA)
            places = shown[same].astype(np.intp) * PERCENT + confidence[same]
            agreed += np.bincount(places, minlength=IDS * PERCENT)
        bar.advance(window.pixels / 1e6)
    return Disagreement(joint.reshape(IDS, IDS), agreed.reshape(IDS, PERCENT))
