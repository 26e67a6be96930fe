"""Draw a map, its confidence and its polygons as QGIS shows them, with QGIS's own legends.

Runs in QGIS's own Python (Debian: python3-qgis). Styles come from the files alone.

QT_QPA_PLATFORM=offscreen /usr/bin/python3 workflows/qgis_picture.py \
    farmland_classes.tif farmland_confidence.tif farmland.gpkg docs/qgis.png
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsLayoutExporter,
    QgsLayoutItemLegend,
    QgsLayoutItemMap,
    QgsLayoutPoint,
    QgsLayoutSize,
    QgsLegendStyle,
    QgsMapLayer,
    QgsPrintLayout,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QFont

WIDTH, HEIGHT, LEGEND, GAP = 80.0, 66.7, 59.0, 3.0  # millimetres
DPI = 100


def open_layer(path: Path) -> QgsMapLayer:
    """The layer that QGIS makes of a file; a raster or a GeoPackage of geoseg."""
    layer = (
        QgsRasterLayer(str(path)) if path.suffix == ".tif" else QgsVectorLayer(f"{path}|layername=polygons")
    )
    layer.setName(path.name)
    if not layer.isValid():
        sys.exit(f"{path} does not open in QGIS")
    return layer


def add_map(layout: QgsPrintLayout, layer: QgsMapLayer, box: QgsRectangle, left: float) -> None:
    """One layer with its legend below it."""
    view = QgsLayoutItemMap(layout)
    view.attemptMove(QgsLayoutPoint(left, 0))
    view.attemptResize(QgsLayoutSize(WIDTH, HEIGHT))
    view.setLayers([layer])
    view.setExtent(box)
    layout.addLayoutItem(view)
    legend = QgsLayoutItemLegend(layout)
    legend.setAutoUpdateModel(False)
    legend.model().rootGroup().clear()
    legend.model().rootGroup().addLayer(layer)
    legend.setLinkedMap(view)
    for part in (QgsLegendStyle.Subgroup, QgsLegendStyle.SymbolLabel):
        legend.setStyleFont(part, QFont("DejaVu Sans", 8))
    legend.setSymbolHeight(2.5)
    layout.addLayoutItem(legend)
    legend.attemptMove(QgsLayoutPoint(left, HEIGHT))


def draw(files: Sequence[Path], picture: Path) -> None:
    """Write the picture: all layers but the last in whole, the last, polygons, three times as near."""
    project = QgsProject.instance()
    layout = QgsPrintLayout(project)
    layout.initializeDefaults()
    page = layout.pageCollection().page(0)
    page.setPageSize(QgsLayoutSize(len(files) * (WIDTH + GAP) - GAP, HEIGHT + LEGEND))
    for place, path in enumerate(files):
        layer = open_layer(path)
        project.addMapLayer(layer)
        box = layer.extent()
        if place == len(files) - 1:
            box.scale(1 / 3)
        add_map(layout, layer, box, place * (WIDTH + GAP))
    settings = QgsLayoutExporter.ImageExportSettings()
    settings.dpi = DPI
    if QgsLayoutExporter(layout).exportToImage(str(picture), settings) != QgsLayoutExporter.Success:
        sys.exit(f"{picture} cannot be written")


def main() -> None:
    """Start QGIS without windows, draw, end it."""
    *files, picture = map(Path, sys.argv[1:])
    if not files:
        sys.exit((__doc__ or "").strip())
    application = QgsApplication([], False)
    application.initQgis()
    draw(files, picture)
    QgsProject.instance().clear()
    application.exitQgis()


if __name__ == "__main__":
    main()
