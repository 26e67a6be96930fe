"""Small networks of every architecture, each converted to ONNX once for all tests: that takes seconds."""

from __future__ import annotations

from functools import cache

import torch

from geoseg.models import build_network
from geoseg.models.conversion import ChipShape, ConvertedNetwork, to_onnx
from geoseg.models.sources import ONNX, ONNX_FILE

BANDS, CLASSES, SIDE = 3, 4, 128
_DECODER = {"encoder_depth": 3, "decoder_channels": [32, 16, 8]}
OF_ANY_SIZE = {
    "unet": ("resnet18", _DECODER),
    "unetplusplus": ("resnet18", _DECODER),
    "linknet": ("resnet18", {"encoder_depth": 3}),
    "deeplabv3plus": ("resnet18", {"decoder_channels": 16}),
    "unet with squeeze and excitation": ("efficientnet-b0", _DECODER),
    "unet-classic": (None, {"depth": 3, "width": 4}),
}
OF_ONE_SIZE = {
    "dynamic-world": (None, {"width": 8}),
    "segformer": ("mit_b0", {}),
    "unet with a transformer": ("mit_b0", {"decoder_channels": [16] * 5}),
    "dpt": ("tu-vit_tiny_patch16_224", {}),
    "pspnet": ("resnet18", {}),
    "fpn": ("resnet18", {"decoder_segmentation_channels": 32, "decoder_pyramid_channels": 32}),
}
OTHERS = {
    "manet": ("resnet18", _DECODER),
    "pan": ("resnet18", {}),
    "deeplabv3": ("resnet18", {"decoder_channels": 16}),
    "upernet": ("resnet18", {"decoder_channels": 16}),
}
NETWORKS = OF_ANY_SIZE | OF_ONE_SIZE | OTHERS


@cache
def exported(name: str, side: int = SIDE):
    """Return a network in evaluation mode, and what `to_onnx` makes of it for chips of a side."""
    torch.manual_seed(0)
    encoder, options = NETWORKS[name]
    network = build_network(
        name.split(" ", maxsplit=1)[0], encoder=encoder, bands=BANDS, classes=CLASSES, **options
    )
    shape = ChipShape(1, BANDS, side)
    graph = to_onnx(network.eval(), shape)
    return network, ConvertedNetwork(ONNX, "fp32", shape, {ONNX_FILE: graph})
