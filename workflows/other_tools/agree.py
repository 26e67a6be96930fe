"""Compare the classes of one ONNX file in geoseg, in Deepness and in GeoDeep, on the same chips.

Each tool runs in an environment of its own, with its own code::

    python agree.py cut photo.tif -o chips.npz
    python agree.py geoseg dubai-landcover chips.npz -o geoseg.npy
    python agree.py geodeep exported/network.onnx chips.npz -o geodeep.npy
    python agree.py deepness exported/network.onnx chips.npz -o deepness.npy
    python agree.py compare geoseg.npy deepness.npy

GeoDeep comes from ``pip install geodeep``; Deepness' ``src`` folder has to be in ``PYTHONPATH`` of a Python
that has QGIS, onnxruntime and opencv.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np


def cut(args: argparse.Namespace) -> None:
    """Cut chips without a missing pixel out of rasters, as (chips, rows, columns, bands)."""
    import rasterio

    chips = []
    for path in args.scenes:
        with rasterio.open(path) as file:
            values = file.read()
            missing = (
                np.zeros(values.shape[1:], bool) if file.nodata is None else (values == file.nodata).any(0)
            )
        rows, cols = (size // args.side for size in values.shape[1:])
        for row, col in np.ndindex(rows, cols):
            part = np.s_[row * args.side : (row + 1) * args.side, col * args.side : (col + 1) * args.side]
            if not missing[part].any():
                chips.append(values[(slice(None), *part)].transpose(1, 2, 0))
    chosen = np.linspace(0, len(chips) - 1, min(args.chips, len(chips))).astype(int)
    np.savez_compressed(args.output, chips=np.stack([chips[index] for index in chosen]))


def by_geoseg(args: argparse.Namespace) -> np.ndarray:
    """Classes as indices, by geoseg's own network in fp32: torch's, or the converted one."""
    from geoseg.inference.backends import backend_kind
    from geoseg.inference.backends.convert import OneInference
    from geoseg.models.conversion import ChipShape
    from geoseg.models.package import open_model

    model = open_model(args.model)
    chips = read_chips(args)
    card = model.card
    side = chips.shape[1]
    kind = backend_kind("torch" if model.config else "onnx")
    shape = ChipShape(1, chips.shape[-1], side)
    network = model.network if model.config else model.converted("onnx", "fp32", shape)
    backend = kind.make(network, OneInference(1, side))
    physical = chips.transpose(0, 3, 1, 2) * np.float32(card.value_scale) + np.float32(card.value_offset)
    normal = (physical - card.means[:, None, None]) / card.stds[:, None, None]
    found = [backend.probabilities(chip[None].astype(np.float32))[0].argmax(0) for chip in normal]
    return np.stack(found)


def by_deepness(args: argparse.Namespace) -> np.ndarray:
    """Classes by Deepness' own reading of the file, input step and rule; needs its source and QGIS."""
    from deepness.processing.map_processor.map_processor_segmentation import MapProcessorSegmentation
    from deepness.processing.models.segmentor import Segmentor

    model = Segmentor(str(args.model))
    threshold = model.get_metadata_segmentation_threshold()
    print(model.get_metadata_model_type(), model.get_outputs_channel_names(), threshold)
    print(model.get_metadata_resolution(), model.get_metadata_tile_size(), model.get_metadata_tiles_overlap())
    settings = SimpleNamespace(
        pixel_classification__probability_threshold=0.5 if threshold is None else threshold
    )
    self = SimpleNamespace(model=model, segmentation_parameters=settings)
    chips = read_chips(args)
    # It counts classes from 1, and keeps 0 for what is outside of the area.
    return np.stack([MapProcessorSegmentation._process_tile(self, chip[None])[0, 0] - 1 for chip in chips])


def by_geodeep(args: argparse.Namespace) -> np.ndarray:
    """Classes by GeoDeep's own reading of the file, input step and rule."""
    from geodeep.inference import create_session
    from geodeep.segmentation import execute_segmentation

    session, config = create_session(str(args.model))
    print(
        {key: config[key] for key in ("model_type", "class_names", "resolution", "seg_thresh", "tiles_size")}
    )
    chips = read_chips(args).transpose(0, 3, 1, 2)
    return np.stack([execute_segmentation(chip, session, config)[0] for chip in chips])


def read_chips(args: argparse.Namespace) -> np.ndarray:
    """Read what `cut` wrote."""
    with np.load(args.chips) as file:
        return file["chips"]


TOOLS = {"geoseg": by_geoseg, "deepness": by_deepness, "geodeep": by_geodeep}


def compare(args: argparse.Namespace) -> None:
    """Print the share of pixels with the same class."""
    one, other = (np.load(path) for path in args.classes)
    print(f"{(one == other).mean():.6%} of {one.size:,} pixels agree; {len(np.unique(one))} classes")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True)
    cutting = verbs.add_parser("cut")
    cutting.add_argument("scenes", nargs="+", type=Path)
    cutting.add_argument("--side", type=int, default=512)
    cutting.add_argument("--chips", type=int, default=8)
    cutting.add_argument("-o", "--output", type=Path, required=True)
    cutting.set_defaults(run=cut)
    for name, function in TOOLS.items():
        verb = verbs.add_parser(name)
        verb.add_argument("model", help="ONNX file; for geoseg also a package")
        verb.add_argument("chips", type=Path)
        verb.add_argument("-o", "--output", type=Path, required=True)
        verb.set_defaults(run=lambda args, function=function: np.save(args.output, function(args)))
    comparing = verbs.add_parser("compare")
    comparing.add_argument("classes", nargs=2, type=Path)
    comparing.set_defaults(run=compare)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
