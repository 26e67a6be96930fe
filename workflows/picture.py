"""Draw a scene in false colour, its class map and its polygons side by side.

python workflows/picture.py sample_tiles/farmland.tif farmland_classes.tif farmland.gpkg docs/farmland.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import geopandas
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import rasterio
from matplotlib.patches import Patch
from numpy.typing import NDArray

mpl.use("Agg")


def false_colour(scene: Path) -> NDArray[np.float64]:
    """Near infrared, red and green, each stretched from its 2nd to its 98th percentile; nodata is white."""
    with rasterio.open(scene) as raster:
        names = list(raster.descriptions)
        bands = raster.read([names.index(name) + 1 for name in ("nir", "red", "green")], masked=True)
    low, high = (
        np.array([np.percentile(band.compressed(), q) for band in bands])[:, None, None] for q in (2, 98)
    )
    stretched = np.clip((bands.filled(0) - low) / (high - low), 0, 1)
    stretched[:, np.ma.getmaskarray(bands).all(0)] = 1
    return np.moveaxis(stretched, 0, -1)


def class_colours(class_map: Path) -> tuple[NDArray[np.uint8], tuple[float, ...], dict[int, str]]:
    """The class map in its own palette, its extent, and the palette."""
    with rasterio.open(class_map) as raster:
        ids, palette, box = raster.read(1), raster.colormap(1), raster.bounds
    table = np.array([palette.get(value, (255, 255, 255))[:3] for value in range(256)], np.uint8)
    table[255] = 255
    colours = {value: "#{:02x}{:02x}{:02x}".format(*table[value]) for value in np.unique(ids) if value != 255}
    return table[ids], (box.left, box.right, box.bottom, box.top), colours


def draw(scene: Path, class_map: Path, polygons: Path, picture: Path) -> None:
    """Write the picture."""
    image, extent, colours = class_colours(class_map)
    fields = geopandas.read_file(polygons, layer="polygons")
    names = dict(zip(fields["class_id"], fields["class_name"], strict=True))
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.1), layout="constrained")
    axes[0].imshow(false_colour(scene), extent=extent)
    axes[1].imshow(image, extent=extent)
    fields.plot(ax=axes[2], color=fields["class_id"].map(colours), edgecolor="black", linewidth=0.25)
    for axis, title in zip(axes, ("scene (near infrared, red, green)", "class map", "polygons"), strict=True):
        axis.set(title=title, xticks=[], yticks=[], xlabel="", ylabel="", xlim=extent[:2], ylim=extent[2:])
    handles = [Patch(color=colour, label=names[value]) for value, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    figure.savefig(picture, dpi=100)


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    for name in ("scene", "class_map", "polygons", "picture"):
        parser.add_argument(name, type=Path)
    draw(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
