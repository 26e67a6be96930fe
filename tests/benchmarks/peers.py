"""Other ways of mapping a scene with the same network: what ``naive.py`` measures, each a process of its own.

    python tests/benchmarks/peers.py WAY SCENE MODEL OUT.tif

Written as their tutorials have it: fp32, the number of threads that torch takes, memory as the allocator wants it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def read_whole(scene: str, card):
    """A scene as one normalised float32 array (bands, rows, columns), and the profile of its map."""
    import numpy as np
    import rasterio

    with rasterio.open(scene) as file:
        values = file.read().astype(np.float32) * np.float32(file.scales[0])
        profile = {
            "driver": "GTiff",
            "count": 1,
            "dtype": "uint8",
            "height": file.height,
            "width": file.width,
        }
        profile |= {"crs": file.crs, "transform": file.transform, "tiled": True, "compress": "deflate"}
    values -= card.means[:, None, None]
    values /= card.stds[:, None, None]
    return values, profile


def write_maps(path: str, profile: dict, probabilities) -> None:
    """The class map and the confidence, from probabilities (classes, rows, columns)."""
    import numpy as np
    import rasterio

    with rasterio.open(path, "w", **profile) as file:
        file.write(probabilities.argmax(0).astype(np.uint8), 1)
    with rasterio.open(path.replace(".tif", "_confidence.tif"), "w", **profile) as file:
        file.write(np.rint(probabilities.max(0) * 100).astype(np.uint8), 1)


def naive(scene: str, model, path: str) -> None:
    """The whole scene in an array, a loop over chips, a mean where they overlap."""
    import numpy as np
    import torch

    values, profile = read_whole(scene, model.card)
    side, step = model.card.chip_size, model.card.chip_size - model.card.overlap
    _, rows, cols = values.shape
    total = np.zeros((len(model.card.classes), rows, cols), np.float32)
    count = np.zeros((rows, cols), np.float32)
    network = model.network.eval()
    with torch.no_grad():
        for row in range(0, max(rows - model.card.overlap, 1), step):
            for col in range(0, max(cols - model.card.overlap, 1), step):
                chip = values[:, row : row + side, col : col + side]
                height, width = chip.shape[1:]
                full = np.zeros((1, len(values), side, side), np.float32)
                full[0, :, :height, :width] = chip
                answer = torch.softmax(network(torch.from_numpy(full)), 1)[0, :, :height, :width].numpy()
                total[:, row : row + side, col : col + side] += answer
                count[row : row + side, col : col + side] += 1
    total /= count
    write_maps(path, profile, total)


def monai(scene: str, model, path: str) -> None:
    """MONAI's sliding_window_inference over the whole array."""
    import torch
    from monai.inferers import sliding_window_inference

    values, profile = read_whole(scene, model.card)
    network = model.network.eval()
    with torch.no_grad():
        answer = sliding_window_inference(
            torch.from_numpy(values)[None],
            roi_size=(model.card.chip_size,) * 2,
            sw_batch_size=4,
            predictor=lambda chips: torch.softmax(network(chips), 1),
            overlap=model.card.overlap / model.card.chip_size,
            mode="gaussian",
        )
    write_maps(path, profile, answer[0].numpy())


def torchgeo(scene: str, model, path: str) -> None:
    """Torchgeo's GridGeoSampler and a DataLoader, chips averaged where they overlap."""
    import numpy as np
    import rasterio
    import torch
    from torch.utils.data import DataLoader
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GridGeoSampler, Units

    with rasterio.open(scene) as file:
        rows, cols, transform, scale = file.height, file.width, file.transform, np.float32(file.scales[0])
        profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": rows, "width": cols}
        profile |= {"crs": file.crs, "transform": transform, "tiled": True, "compress": "deflate"}
    dataset = RasterDataset(paths=[scene])
    sampler = GridGeoSampler(
        dataset, model.card.chip_size, model.card.chip_size - model.card.overlap, units=Units.PIXELS
    )
    total = np.zeros((len(model.card.classes), rows, cols), np.float32)
    count = np.zeros((rows, cols), np.float32)
    means, stds = (torch.from_numpy(x)[:, None, None] for x in (model.card.means, model.card.stds))
    network = model.network.eval()
    with torch.no_grad():
        for sample in DataLoader(dataset, batch_size=4, sampler=sampler, collate_fn=stack_samples):
            answers = torch.softmax(network((sample["image"] * scale - means) / stds), 1).numpy()
            for answer, bounds in zip(answers, sample["bounds"], strict=True):
                left, top = _corner(bounds)
                row, col = (
                    round((transform.f - top) / -transform.e),
                    round((left - transform.c) / transform.a),
                )
                top, left = max(row, 0), max(col, 0)  # its grid may begin and end outside the scene
                bottom, right = min(row + model.card.chip_size, rows), min(col + model.card.chip_size, cols)
                if top < bottom and left < right:
                    part = answer[:, top - row : bottom - row, left - col : right - col]
                    total[:, top:bottom, left:right] += part
                    count[top:bottom, left:right] += 1
    total /= np.maximum(count, 1)
    write_maps(path, profile, total)


def _corner(bounds) -> tuple[float, float]:
    """Left and top of a sample, in the forms that torchgeo has given it."""
    if hasattr(bounds, "minx"):
        return float(bounds.minx), float(bounds.maxy)
    if isinstance(bounds, (tuple, list)) and isinstance(bounds[0], slice):
        return float(bounds[0].start), float(bounds[1].stop)
    numbers = [float(x) for x in bounds]  # xmin, xmax, xstep, ymin, ymax ...
    return numbers[0], numbers[4]


def geodeep(scene: str, _model, path: str) -> None:
    """GeoDeep: ONNX Runtime, crops, the class map alone; its sieve is off, its median filter cannot be."""
    import geodeep as tool
    import rasterio
    from geodeep.segmentation import save_mask_to_raster

    exported = Path(path).with_suffix(".onnx")
    mask = tool.segment(scene, str(exported))
    save_mask_to_raster(scene, mask, path)
    with rasterio.open(path) as file:
        assert file.shape == mask.shape


def export_for_geodeep(model, scene: str, path: Path) -> None:
    """The network as GeoDeep wants it: 3 bands of uint16 / 65535 in, probabilities out, its own metadata."""
    import onnx
    import rasterio
    import torch

    with rasterio.open(scene) as file:
        scale = file.scales[0] * 65535

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = model.network
            self.register_buffer("means", torch.from_numpy(model.card.means)[:, None, None])
            self.register_buffer("stds", torch.from_numpy(model.card.stds)[:, None, None])

        def forward(self, chips):
            return torch.softmax(self.network((chips * scale - self.means) / self.stds), 1)

    example = torch.zeros(1, len(model.card.bands), model.card.chip_size, model.card.chip_size)
    program = torch.onnx.export(Wrapped().eval(), (example,), dynamo=True, verbose=False, optimize=True)
    proto = program.model_proto
    names = {str(i): item.name for i, item in enumerate(model.card.classes)}
    facts = {"model_type": "Segmentor", "class_names": names, "resolution": 1, "seg_thresh": 0}
    facts |= {"seg_small_segment": 0, "tiles_overlap": 100 * model.card.overlap / model.card.chip_size}
    for key, value in facts.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value)
    onnx.save(proto, str(path))


def main() -> None:
    """Run one way."""
    from geoseg.models import open_model

    way, scene, model, path = sys.argv[1:]
    {"naive": naive, "monai": monai, "torchgeo": torchgeo, "geodeep": geodeep}[way](
        scene, open_model(model), path
    )


if __name__ == "__main__":
    main()
