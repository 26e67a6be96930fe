"""Runs in QGIS's own Python: opens files as a drag and drop would and says what QGIS makes of them.

    QT_QPA_PLATFORM=offscreen python3 look.py SCALE < files.json > seen.json

No style is given by hand: what QGIS shows comes from the files and their sidecars alone. A picture of each file lies
beside it (``FILE.png``), SCALE times as large as the first file, a raster.
"""

from __future__ import annotations

import json
import sys

from osgeo import ogr
from qgis.core import (
    QgsApplication,
    QgsCoordinateTransformContext,
    QgsLayerTreeLayer,
    QgsMapLayerLegend,
    QgsMapRendererCustomPainterJob,
    QgsMapSettings,
    QgsProviderRegistry,
    QgsProviderSublayerDetails,
    QgsRasterLayer,
    QgsRenderContext,
)
from qgis.PyQt.QtCore import QSize, Qt
from qgis.PyQt.QtGui import QColor, QImage, QPainter

BACKGROUND = QColor(255, 0, 255)
"""Behind the layers: seen where they are transparent; no palette has it."""


def dropped(path):
    """The layers that QGIS makes of a dropped file."""
    options = QgsProviderSublayerDetails.LayerOptions(QgsCoordinateTransformContext())
    return [found.toLayer(options) for found in QgsProviderRegistry.instance().querySublayers(path)]


def describe(layer):
    """What a layer is called, where it lies and how it is drawn."""
    box = layer.extent()
    seen = {
        "valid": layer.isValid(),
        "name": layer.name(),
        "crs": layer.crs().authid(),
        "extent": [box.xMinimum(), box.yMaximum(), box.xMaximum(), box.yMinimum()],
        "renderer": layer.renderer().type(),
    }
    return seen | (raster(layer) if isinstance(layer, QgsRasterLayer) else vector(layer))


def raster(layer):
    """Entries of a palette or of a ramp, and what has no data."""
    renderer = layer.renderer()
    seen = {"nodata": layer.dataProvider().sourceNoDataValue(1)}
    if renderer.type() == "paletted":
        seen["classes"] = [
            [int(entry.value), entry.label, entry.color.name()] for entry in renderer.classes()
        ]
    if renderer.type() == "singlebandpseudocolor":
        items = renderer.shader().rasterShaderFunction().colorRampItemList()
        seen["ramp"] = [[item.value, item.label, item.color.name()] for item in items]
    seen["legend"] = legend(layer)
    return seen


def legend(layer):
    """The lines below the layer's name in the list of layers."""
    nodes = QgsMapLayerLegend.defaultRasterLegend(layer).createLayerTreeModelLegendNodes(
        QgsLayerTreeLayer(layer)
    )
    return [node.data(Qt.DisplayRole) for node in nodes]


def vector(layer):
    """Columns, rows, categories of the renderer, and the colours that features really get from them."""
    seen = {
        "columns": {field.name(): field.typeName() for field in layer.fields()},
        "rows": layer.featureCount(),
    }
    renderer = layer.renderer()
    if renderer.type() == "categorizedSymbol":
        seen["column"] = renderer.classAttribute()
        seen["classes"] = [
            [int(entry.value()), entry.label(), entry.symbol().color().name()]
            for entry in renderer.categories()
        ]
        seen["drawn"] = drawn(layer)
    return seen


def drawn(layer):
    """Colour of the symbol that QGIS picks for the features of each class, by class name."""
    context, renderer, found = QgsRenderContext(), layer.renderer().clone(), {}
    renderer.startRender(context, layer.fields())
    for feature in layer.getFeatures():
        symbol = renderer.symbolForFeature(feature, context)
        found[feature["class_name"]] = symbol.color().name() if symbol else None
    renderer.stopRender(context)
    return found


def picture(layer, box, size):
    """Draw a layer alone, without smoothing."""
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(layer.crs())
    settings.setBackgroundColor(BACKGROUND)
    settings.setOutputSize(size)
    settings.setExtent(box)
    settings.setFlag(QgsMapSettings.Antialiasing, False)
    image = QImage(size, QImage.Format_RGB32)
    image.fill(BACKGROUND)
    painter = QPainter(image)
    job = QgsMapRendererCustomPainterJob(settings, painter)
    job.start()
    job.waitForFinished()
    painter.end()
    return image


def main():
    """Open, describe and draw what stdin names."""
    scale, paths = int(sys.argv[1]), json.load(sys.stdin)
    application = QgsApplication([], False)
    application.initQgis()
    layers = {path: dropped(path) for path in paths}
    first = layers[paths[0]][0]
    box, size = first.extent(), QSize(first.width() * scale, first.height() * scale)
    for path, found in layers.items():
        for layer in found:
            picture(layer, box, size).save(path + ".png")
    seen = {path: [describe(layer) for layer in found] for path, found in layers.items()}
    print(json.dumps({"parquet": ogr.GetDriverByName("Parquet") is not None, "layers": seen}))
    del layers, found, layer, first
    application.exitQgis()


if __name__ == "__main__":
    main()
