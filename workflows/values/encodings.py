"""Count how often the encoding of reflectance is found by the values alone, how often asked for or wrong.

    python workflows/values/encodings.py DATA

DATA holds ``worldcover`` (patches of HLS), ``africa`` (points), ``sentinel2`` (a scene without metadata) and
``dakota`` (a mosaic). Each patch, and each piece of 128 x 128 pixels, is stored in turn in every encoding, as
it is and as it would look from above the atmosphere, with and without short-wave infrared.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import rasterio

from geoseg.doctor.atmosphere import to_top_of_atmosphere
from geoseg.doctor.encodings import ENCODINGS, PLAIN, Encoding, fit_encodings
from geoseg.scene.band import Band

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
SENTINEL = ("B02", "B03", "B04", "B08", "B11", "B12")
SIDE, STEP = 128, 6
RESULTS = ("right", "asked", "wrong")
CASES = [(encoding, "float32" if encoding.scale >= 0.01 else "uint16") for encoding in ENCODINGS]


def scenes(data: Path) -> Iterator[np.ndarray]:
    """Yield the reflectance of each piece, float64 (bands, pixels), with every sixth pixel of images."""
    for path in sorted((data / "worldcover" / "scenes").glob("*.tif")):
        with rasterio.open(path) as image:
            stored = image.read()
        yield stored[:, (stored != -9999).all(axis=0)][:, ::STEP] * 1e-4
    for path in sorted((data / "africa").glob("*.npz")):
        for season in np.moveaxis(np.load(path)["reflectance"], 1, 0):
            known = season[np.isfinite(season).all(axis=1)]
            yield known[:, [0, 1, 2, 6, 7, 8]].T.astype(np.float64)
    (folder,) = (data / "sentinel2").iterdir()
    yield from pieces(np.stack([read(folder / f"{name}.tiff") for name in SENTINEL]), 0, 1 / 65535)
    with rasterio.open(data / "dakota" / "scene.tif") as image:
        yield from islice(pieces(image.read(), -9999, 1e-4), None, None, 4)


def read(path: Path) -> np.ndarray:
    """Read a file of one band."""
    with rasterio.open(path) as image:
        return image.read(1)


def pieces(stored: np.ndarray, nodata: float, scale: float) -> Iterator[np.ndarray]:
    """Cut an image, and yield the reflectance of the pieces that are at least half full."""
    for row in range(0, stored.shape[1] - SIDE + 1, SIDE):
        for col in range(0, stored.shape[2] - SIDE + 1, SIDE):
            part = stored[:, row : row + SIDE, col : col + SIDE]
            known = (part != nodata).all(axis=0)
            if known.mean() > 0.5:
                yield part[:, known][:, ::STEP] * scale


def from_above(reflectance: np.ndarray) -> np.ndarray:
    """Make reflectance look as a sensor above the atmosphere sees it."""
    bands = [to_top_of_atmosphere(Band(1, None, name, "float64"), name) for name in BANDS]
    return np.stack([row * band.scale + band.offset for row, band in zip(reflectance, bands, strict=True)])


def store(reflectance: np.ndarray, encoding: Encoding, dtype: str) -> np.ndarray:
    """Store reflectance as numbers of a type."""
    numbers = (reflectance - encoding.offset) / encoding.scale
    return numbers.astype(dtype) if dtype == "float32" else np.rint(numbers).clip(0, 65535).astype(dtype)


def main(data: Path) -> None:
    """Print the table."""
    found: Counter[tuple[str, int, str, str]] = Counter()
    count = 0
    for reflectance in scenes(data):
        count += 1
        for place, values in (("surface", reflectance), ("above", from_above(reflectance))):
            for bands in (6, 4):
                for encoding, dtype in CASES:
                    stored = store(values[:bands], encoding, dtype)
                    fit = fit_encodings(dict(zip(BANDS, stored, strict=False)))
                    only = None if fit is None else fit.only
                    result = "asked" if only is None else "right" if only == encoding else "wrong"
                    found[place, bands, encoding.title, result] += 1
                    found["", 0, "", "missed"] += fit is not None and encoding not in fit.possible
    print(count, "pieces;", found["", 0, "", "missed"], "times the truth was called impossible")
    for place in ("surface", "above"):
        for bands in (6, 4):
            for encoding, _ in CASES:
                name = "reflectance 0 to 1" if encoding == PLAIN else encoding.title
                counts = (f"{each} {found[place, bands, encoding.title, each]:4}" for each in RESULTS)
                print(f"{place:8} {bands} bands  {name:32} {'  '.join(counts)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
