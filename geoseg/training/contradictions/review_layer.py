"""The layer of contradictions as a GeoPackage that QGIS opens ready for review."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from geoseg.assess.sample import add_choices, add_outline, write_styles
from geoseg.classes import LandClass, complete_legend
from geoseg.errors import RunError
from geoseg.files import atomic
from geoseg.maps.class_map_file import ClassMapFile
from geoseg.polygons.writers.crs import layer_crs

LAYER = "contradictions"
VERDICTS = ("label wrong", "prediction wrong", "both wrong", "unsure")
"""What a reviewer picks from in the column ``verdict``."""


@dataclass(frozen=True)
class Contradiction:
    """A place where a prediction contradicts the label.

    Attributes:
        row: Row of its first pixel in the map.
        col: Column of that pixel.
        label_id: What the label says.
        predicted_id: What the map says.
        pixels: Its pixels.
        confident_pixels: Those that count: confident for the class they are mapped as.
        area_ha: Ellipsoidal area in hectares; None without a CRS.
        confidence: Mean confidence over all its pixels, 0 to 1.
        score: What it is ranked by; see ``contradictions``.
        geometry: Its outline, in the map's CRS; without one x = column, y = -row.
        patch_share: Its share of the patch of connected pixels with this label that it lies in, 0 to 1.
        rank: 1 for the most suspicious.
    """

    row: int
    col: int
    label_id: int
    predicted_id: int
    pixels: int
    confident_pixels: int
    area_ha: float | None
    confidence: float
    score: float
    geometry: Any = field(repr=False)
    patch_share: float = 0.0
    rank: int = 0


def write_layer(
    path: Path,
    places: Sequence[Contradiction],
    class_map: ClassMapFile,
    classes: Sequence[LandClass],
    provenance: Mapping[str, str],
) -> None:
    """Write the places, ordered by rank, with a default style.

    Args:
        path: The GeoPackage; replaced as a whole if it exists.
        places: The rows.
        class_map: The map they were found in.
        classes: Classes, for their names.
        provenance: Metadata of the layer.

    Raises:
        RunError: If writing failed; ``path`` is as it was.
    """
    try:
        with atomic(path) as part, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="'crs' was not provided")
            _table(places, class_map, classes).to_file(
                part,
                layer=LAYER,
                driver="GPKG",
                engine="pyogrio",
                geometry_type="Polygon",
                layer_metadata={key: provenance[key] for key in sorted(provenance)},
            )
            write_styles(part, {LAYER: review_qml()}, "review")
    except (OSError, RuntimeError) as error:
        raise RunError(f"{path} could not be written: {error}") from error


def _table(places: Sequence[Contradiction], class_map: ClassMapFile, classes: Sequence[LandClass]) -> Any:
    import geopandas

    ids = {place.label_id for place in places} | {place.predicted_id for place in places}
    names = {item.id: item.name for item in complete_legend(classes, ids)}
    place = class_map.georeference
    crs = layer_crs(place.map_crs, "GPKG")
    return geopandas.GeoDataFrame(
        {
            "rank": [place.rank for place in places],
            "label_id": [place.label_id for place in places],
            "label_name": [names[place.label_id] for place in places],
            "predicted_id": [place.predicted_id for place in places],
            "predicted_name": [names[place.predicted_id] for place in places],
            "pixel_count": [place.pixels for place in places],
            "confident_pixels": [place.confident_pixels for place in places],
            "area_ha": [place.area_ha for place in places],
            "confidence": [place.confidence for place in places],
            "score": [place.score for place in places],
            "patch_share": [place.patch_share for place in places],
            "verdict": [None] * len(places),
            "note": [None] * len(places),
        },
        geometry=[place.geometry for place in places],
        crs=crs,
    ).astype(
        {
            **dict.fromkeys(("rank", "label_id", "predicted_id"), "int32"),
            **dict.fromkeys(("pixel_count", "confident_pixels"), "int64"),
            **dict.fromkeys(("area_ha", "confidence", "score", "patch_share"), "float64"),
            **dict.fromkeys(("label_name", "predicted_name", "verdict", "note"), "string"),
        }
    )


def review_qml() -> str:
    """Write the layer's style: outlines that hide nothing, named by rank and classes; a list of verdicts."""
    root = ET.Element(
        "qgis", version="3.22", styleCategories="Symbology|Labeling|Fields|Forms", labelsEnabled="1"
    )
    add_outline(root, "255,0,200,255", "0.6")
    _add_labels(root)
    add_choices(root, "verdict", VERDICTS)
    return ET.tostring(root, encoding="unicode")


def _add_labels(root: ET.Element) -> None:
    labels = ET.SubElement(ET.SubElement(root, "labeling", type="simple"), "settings")
    text = ET.SubElement(
        labels,
        "text-style",
        fieldName="concat(\"rank\", ': ', \"label_name\", ' or ', \"predicted_name\", '?')",
        isExpression="1",
        fontSize="9",
        textColor="60,0,45,255",
    )
    ET.SubElement(text, "text-buffer", bufferDraw="1", bufferSize="0.8", bufferColor="255,255,255,255")
    ET.SubElement(labels, "placement", placement="1")
