"""Bring in other people's models: each importer reads one kind of file and writes a model package.

To add a kind, write one file with a class that does what `Importer` in `importer.py` says, and one value of
it in `IMPORTERS`.
"""

from __future__ import annotations

from geoseg.models.importers.dynamic_world import DynamicWorldWeights
from geoseg.models.importers.importer import Importer
from geoseg.models.importers.lightning import LightningCheckpoint
from geoseg.models.importers.onnx_network import OnnxNetwork
from geoseg.models.importers.smp_folder import SmpFolder
from geoseg.models.importers.state_dict import StateDict
from geoseg.models.importers.torchgeo import TorchgeoCheckpoint

IMPORTERS: tuple[Importer, ...] = (
    SmpFolder(),
    OnnxNetwork(),
    DynamicWorldWeights(),
    TorchgeoCheckpoint(),
    LightningCheckpoint(),
    StateDict(),
)
"""Asked in this order; the first that recognises a source reads it."""
