"""Training chips: drawn where labels are, clear of held-out blocks, turned, mirrored and jittered."""

from __future__ import annotations

import numpy as np
from dakota import Scene, Split, normalise, read_window
from numpy.typing import NDArray

GAIN_ALL, GAIN_BAND, OFFSET = 0.04, 0.03, 0.003  # standard deviations: factors, and reflectance


class ChipSampler:
    """Draws normalised chips and their labels from the training blocks.

    Args:
        scene: the whole scene.
        split: which blocks are held out.
        mean: mean reflectance of each band.
        std: standard deviation of the reflectance of each band.
        size: side of a chip in pixels.
        seed: of the random numbers.
        rare_share: share of chips placed around a class drawn with equal chances instead of any label.
        least_labelled: chips with a smaller share of labelled pixels are passed over.
    """

    def __init__(
        self,
        scene: Scene,
        split: Split,
        mean: list[float],
        std: list[float],
        size: int,
        seed: int,
        rare_share: float = 0.2,
        least_labelled: float = 0.4,
    ) -> None:
        shape = scene.labels.shape
        allowed = split.training_mask(shape)
        self.scene, self.size = scene, size
        self.mean, self.std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
        self.labels = np.where(allowed, scene.labels, 0).astype(np.uint8)
        self._forbidden, self._labelled = _integral(~allowed), _integral(self.labels > 0)
        self._pixels = np.flatnonzero(self.labels)
        by_class = np.argsort(self.labels.ravel()[self._pixels], kind="stable")
        counts = np.bincount(self.labels.ravel()[self._pixels], minlength=10)[1:10]
        self._by_class = np.split(self._pixels[by_class], np.cumsum(counts)[:-1])
        self._rng = np.random.default_rng(seed)
        self.rare_share, self.least_labelled = rare_share, least_labelled

    def batch(self, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """`count` chips (count, bands, size, size); labels (count, size, size), 0-8 and -1 for none."""
        pairs = [self._chip() for _ in range(count)]
        return np.stack([image for image, _ in pairs]), np.stack([labels for _, labels in pairs])

    def _chip(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        top, left = self._place()
        window = (top, left, self.size, self.size)
        image = self._jitter(normalise(read_window(self.scene.image, *window, -9999), self.mean, self.std))
        labels = read_window(self.labels, *window, 0).astype(np.int64) - 1
        turns = int(self._rng.integers(4))
        image, labels = np.rot90(image, turns, axes=(1, 2)), np.rot90(labels, turns)
        if self._rng.random() < 0.5:
            image, labels = image[:, :, ::-1], labels[:, ::-1]
        return np.ascontiguousarray(image), np.ascontiguousarray(labels)

    def _place(self) -> tuple[int, int]:
        """Top-left corner of a chip around a random labelled pixel, clear of forbidden ground."""
        while True:
            rare = self._rng.random() < self.rare_share
            pixels = self._by_class[self._rng.integers(len(self._by_class))] if rare else self._pixels
            row, col = divmod(int(pixels[self._rng.integers(pixels.size)]), self.labels.shape[1])
            top, left = row - int(self._rng.integers(self.size)), col - int(self._rng.integers(self.size))
            labelled = self._total(self._labelled, top, left)
            if labelled >= self.least_labelled * self.size**2 and not self._total(self._forbidden, top, left):
                return top, left

    def _total(self, integral: NDArray[np.int64], top: int, left: int) -> int:
        last_row, last_col = integral.shape[0] - 1, integral.shape[1] - 1
        row0, row1 = max(top, 0), min(top + self.size, last_row)
        col0, col1 = max(left, 0), min(left + self.size, last_col)
        return int(integral[row1, col1] - integral[row0, col1] - integral[row1, col0] + integral[row0, col0])

    def _jitter(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Another sun, haze or sensor: a gain and an offset a band on reflectance; nodata stays 0."""
        bands = len(self.mean)
        gain = np.exp(self._rng.normal(0, GAIN_ALL) + self._rng.normal(0, GAIN_BAND, bands))
        shift = (self.mean * (gain - 1) + self._rng.normal(0, OFFSET, bands)) / self.std
        valid = (image != 0).any(axis=0)
        gain, shift = (values.astype(np.float32).reshape(-1, 1, 1) for values in (gain, shift))
        return (image * gain + shift) * valid


def _integral(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Summed-area table with a leading row and column of zeros."""
    table = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), dtype=np.int64)
    np.cumsum(np.cumsum(mask, axis=0, dtype=np.int64), axis=1, out=table[1:, 1:])
    return table
