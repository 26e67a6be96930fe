"""Predictions with every output, and what they hold."""

from __future__ import annotations

import geopandas
import rasterio

import geoseg

ALL = {"confidence": "conf.tif", "probabilities": "prob.tif", "polygons": "fields.gpkg"}


def run(scene, model, folder, **options):
    """Predict with every output into a folder; returns name -> path."""
    folder.mkdir(exist_ok=True)
    outputs = {name: folder / file for name, file in ALL.items()}
    options = {"force": True, "date": "2021-07-05"} | outputs | options
    return geoseg.predict(scene, folder / "map.tif", model=model, **options)


def read(path):
    return geopandas.read_file(path, layer="polygons")


def pixels(path):
    with rasterio.open(path) as raster:
        return raster.read()
