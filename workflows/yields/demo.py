"""A generated season with a known yield: to try the workflow, and to test that it finds what was put in.

Everything is made up: square fields of corn, soybeans and grass, NDVI curves that rise and fall, a yield that
follows vigour and moisture, an error that a district shares and one of each field. No number here says
anything of real yields.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.transform import Affine

import geoseg

CLASSES = {1: "corn", 2: "soybeans", 6: "grass"}
PIXEL, FIELD, PITCH = (
    10.0,
    10,
    11,
)  # metres; pixels of a field's side; pixels from field to field (a road between)
WEST, NORTH, CRS = 500_000.0, 5_200_000.0, "EPSG:32614"
SCENE_DAYS = tuple(date(2024, *day) for day in ((5, 20), (6, 14), (7, 10), (8, 5), (8, 30)))
MAP_DAYS = {date(2024, 6, 14): (0.15, 60), date(2024, 7, 10): (0.05, 75), date(2024, 8, 5): (0.0, 90)}
"""Date of a map: share of fields whose class it gets wrong, and its confidence in percent."""
BANDS = ("green", "red", "nir", "swir16")


@dataclass(frozen=True)
class World:
    """What is true.

    Attributes:
        fields: One row a field: class_id, vigour, moisture, peak (day of the year), district, yield;
            geometry.
        side: Fields on a side.
    """

    fields: geopandas.GeoDataFrame
    side: int


def make_world(
    side: int = 24, districts: int = 4, seed: int = 0, *, shared: float = 0.25, own: float = 0.35
) -> World:
    """Draw the fields.

    Args:
        side: Fields on a side of the square; a multiple of ``districts``.
        districts: Districts on a side.
        seed: Names the world.
        shared: Standard deviation of the error that a district's fields share, t/ha.
        own: Standard deviation of a field's own error.
    """
    random = np.random.default_rng(seed)
    rows, columns = (place.ravel() for place in np.indices((side, side)))
    count = len(rows)
    classes = random.choice(list(CLASSES), count, p=[0.45, 0.4, 0.15])
    vigour, moisture = random.uniform(0.3, 1, count), random.uniform(0, 1, count)
    place = (rows * districts // side) * districts + columns * districts // side
    signal = np.where(classes == 1, 2 + 9 * vigour**2 + 3 * moisture, 0.8 + 2.5 * vigour + 0.8 * moisture)
    scale = np.where(classes == 1, 1.0, 0.35)
    errors = random.normal(0, shared, districts**2)[place] + random.normal(0, own, count)
    west, north = WEST + columns * PITCH * PIXEL, NORTH - rows * PITCH * PIXEL
    table = {
        "class_id": classes,
        "vigour": vigour,
        "moisture": moisture,
        "peak": random.normal(205, 6, count),
        "district": [f"district {number:02d}" for number in place],
        "signal": signal,
        "yield": signal + scale * errors,
    }
    squares = shapely.box(west, north - FIELD * PIXEL, west + FIELD * PIXEL, north)
    return World(geopandas.GeoDataFrame(table, geometry=squares, crs=CRS), side)


def paint(world: World, values: NDArray[np.float64], between: float) -> NDArray[np.float64]:
    """A raster with a value a field and another between fields, (rows, columns)."""
    pixels = np.full((world.side * PITCH, world.side * PITCH), between)
    cells = np.kron(values.reshape(world.side, world.side), np.ones((FIELD, FIELD)))
    inside = (np.arange(world.side * PITCH) % PITCH) < FIELD
    pixels[np.ix_(inside, inside)] = cells
    return pixels


def write_raster(
    path: Path, bands: NDArray[np.generic], nodata: float, names: tuple[str, ...], scale: float = 1.0
) -> None:
    """A GeoTIFF on the world's grid; bands are (bands, rows, columns)."""
    shape = {
        "count": len(bands),
        "height": bands.shape[1],
        "width": bands.shape[2],
        "dtype": bands.dtype.name,
    }
    place = {"crs": CRS, "transform": Affine(PIXEL, 0, WEST, 0, -PIXEL, NORTH), "nodata": nodata}
    with rasterio.open(path, "w", driver="GTiff", compress="deflate", **shape, **place) as raster:
        raster.write(bands)
        raster.descriptions, raster.scales = names, (scale,) * len(bands)


def reflectance(world: World, day: date, random: np.random.Generator) -> NDArray[np.int16]:
    """A scene, reflectance x 10000, with noise and, on the third date, a cloud: int16, nodata -9999."""
    fields = world.fields
    since = day.timetuple().tm_yday - fields["peak"].to_numpy()
    ndvi = paint(world, 0.15 + 0.7 * fields["vigour"].to_numpy() * np.exp(-((since / 45) ** 2)), 0.12)
    ndmi = paint(world, -0.2 + 0.5 * fields["moisture"].to_numpy() + 0.1 * np.exp(-((since / 45) ** 2)), -0.3)
    nir = 0.25 * (1 + ndvi)
    bands = np.stack([np.full_like(nir, 0.08), 0.25 * (1 - ndvi), nir, nir * (1 - ndmi) / (1 + ndmi)])
    stored = np.rint((bands + random.normal(0, 0.006, bands.shape)) * 10000).astype(np.int16)
    if day == SCENE_DAYS[2]:
        rows, columns = np.indices(nir.shape)
        middle, radius = nir.shape[0] * 0.6, nir.shape[0] * 0.12
        stored[:, np.hypot(rows - middle, columns - middle) < radius] = -9999
    return stored


def write_map(folder: Path, world: World, day: date, random: np.random.Generator) -> Path:
    """A class map of one date with mistakes, as polygons; geoseg traces them.

    Corners of fields are lost at random, so a field's ``id`` differs between dates, as it does in reality.
    """
    wrong, percent = MAP_DAYS[day]
    classes = world.fields["class_id"].to_numpy().astype(float)
    mistaken = random.random(len(classes)) < wrong
    classes[mistaken] = random.choice(list(CLASSES), mistaken.sum())
    ids = paint(world, classes, 255).astype(np.uint8)
    corners = np.ix_(np.arange(0, len(ids), PITCH), np.arange(0, len(ids), PITCH))
    ids[corners] = np.where(random.random((world.side, world.side)) < 0.5, 255, ids[corners])
    sure = np.clip(random.normal(percent, 3, ids.shape), 0, 100).astype(np.uint8)
    sure[ids == 255] = 255
    classmap, confidence = folder / f"classes_{day}.tif", folder / f"confidence_{day}.tif"
    write_raster(classmap, ids[None], 255, ("class",))
    names = "".join(f"<Category>{CLASSES.get(number, '')}</Category>" for number in range(max(CLASSES) + 1))
    band = f'<PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand>'
    classmap.with_name(classmap.name + ".aux.xml").write_text(f"<PAMDataset>{band}</PAMDataset>")
    write_raster(confidence, sure[None], 255, ("confidence",), 0.01)
    polygons = folder / f"fields_{day}.gpkg"
    geoseg.polygonize(classmap, polygons, confidence=confidence, date=str(day), overwrite=True)
    return polygons


def write_demo(
    folder: Path, world: World, *, known: float = 0.5, seed: int = 0
) -> dict[str, list[Path] | Path]:
    """Write scenes, polygons, districts, and the yields of some fields.

    Returns:
        ``polygons`` and ``scenes`` (lists), ``yields`` (points in the fields), ``districts``, ``confidence``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    polygons = [write_map(folder, world, day, random) for day in MAP_DAYS]
    scenes = []
    for day in SCENE_DAYS:
        scenes.append(folder / f"scene_{day}.tif")
        write_raster(scenes[-1], reflectance(world, day, random), -9999, BANDS, 0.0001)
    fields = world.fields
    told = fields[(fields["class_id"] != 6) & (random.random(len(fields)) < known)]
    points = geopandas.GeoDataFrame(told[["yield"]], geometry=told.centroid, crs=CRS)
    points.to_file(folder / "yields.gpkg", layer="yields", engine="pyogrio")
    shapes = fields[["district", "geometry"]].dissolve("district").reset_index()
    shapes.geometry = shapes.geometry.envelope.buffer(PIXEL / 2, join_style="mitre")
    shapes.rename(columns={"district": "name"}).to_file(folder / "districts.gpkg", engine="pyogrio")
    pd.DataFrame(fields.drop(columns="geometry")).to_csv(folder / "truth.csv", index=False)
    return {
        "polygons": polygons,
        "scenes": scenes,
        "yields": folder / "yields.gpkg",
        "districts": folder / "districts.gpkg",
        "confidence": folder / f"confidence_{max(MAP_DAYS)}.tif",
    }
