"""A small map in files, as a run leaves it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoseg.maps.sidecar import class_table_xml

CLASSES = [(1, "corn", (255, 211, 0)), (2, "soybeans", (38, 112, 0)), (7, "water", (75, 112, 163))]
UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)


@dataclass
class SmallMap:
    folder: Path
    classes: np.ndarray
    confidence: np.ndarray
    probabilities: np.ndarray

    @property
    def class_map(self) -> Path:
        return self.folder / "map.tif"

    @property
    def rasters(self) -> dict[str, Path]:
        return {"confidence": self.folder / "conf.tif", "probabilities": self.folder / "prob.tif"}


def write_raster(path, bands, **profile) -> Path:
    bands = np.asarray(bands)
    bands = bands[None] if bands.ndim == 2 else bands
    names = profile.pop("names", None)
    profile = {"crs": "EPSG:32614", "transform": UTM, "nodata": 255} | profile
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(bands),
        height=bands.shape[1],
        width=bands.shape[2],
        dtype=bands.dtype,
        **profile,
    ) as file:
        file.write(bands)
        for number, name in enumerate(names or (), start=1):
            file.set_band_description(number, name)
    return path


@pytest.fixture
def small_map(tmp_path) -> SmallMap:
    random = np.random.default_rng(11)
    patches = random.choice(np.array([1, 2, 7, 255], np.uint8), (9, 11), p=[0.4, 0.3, 0.2, 0.1])
    classes = np.kron(patches, np.ones((4, 5), np.uint8))
    speckle = random.random(classes.shape) < 0.05
    classes[speckle] = 7
    probabilities = random.integers(0, 251, (3, *classes.shape)).astype(np.uint8)
    confidence = random.integers(0, 101, classes.shape).astype(np.uint8)
    for bands in (confidence, *probabilities):
        bands[classes == 255] = 255
    write_raster(tmp_path / "map.tif", classes)
    with rasterio.open(tmp_path / "map.tif", "r+") as file:
        file.write_colormap(1, {value: (*rgb, 255) for value, _, rgb in CLASSES})
        file.update_tags(GEOSEG_MODEL="dakota-crops 1.0", ACQUISITION_DATE="2024-07-31", OTHER="not kept")
    (tmp_path / "map.tif.aux.xml").write_text(class_table_xml(CLASSES))
    write_raster(tmp_path / "conf.tif", confidence)
    write_raster(tmp_path / "prob.tif", probabilities, names=[name for _, name, _ in CLASSES])
    return SmallMap(tmp_path, classes, confidence, probabilities)
