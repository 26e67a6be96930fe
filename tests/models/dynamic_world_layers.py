"""Dynamic World's network once more, layer by layer from its description, for comparison with ours.

It works on tensors in the layout of the published weights, and shares no code with the package.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

LOW = (1.74173, 1.72612, 1.67983, 1.77350, 2.28915, 2.38294, 2.38289, 2.19525, 1.55481)
WIDTH = (2.02330, 2.03891, 2.17959, 2.28901, 2.61717, 2.77341, 2.75783, 2.78909, 2.41405)


def random_weights(
    bands: int = 9, classes: int = 9, stem: int = 8, a: int = 12, b: int = 18, h: int = 6, seed: int = 0
) -> dict[str, Tensor]:
    """Random weights in the published layout, of any widths."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        fan = max(1, torch.Size(shape[1:]).numel())
        return torch.randn(*shape, generator=draw) * (2 / fan) ** 0.5

    weights: dict[str, Tensor] = {}

    def unit(name: str, outputs: int, inputs: int, kernel: int) -> None:
        weights[f"{name}.weight"] = normal(outputs, inputs, kernel, kernel)
        weights[f"{name}.bias"] = 0.1 * normal(outputs)
        for part in ("weight", "variance"):
            weights[f"{name}.norm.{part}"] = torch.rand(outputs, generator=draw) + 0.5
        for part in ("bias", "mean"):
            weights[f"{name}.norm.{part}"] = 0.2 * torch.randn(outputs, generator=draw)

    unit("stem", stem, bands, 3)
    for block, inputs, outputs in (("a", stem, a), ("b", a, b), ("c", b + h, b)):
        for number in (1, 2, 3):
            unit(f"{block}{number}p", outputs, inputs if number == 1 else outputs, 1)
            unit(f"{block}{number}d", outputs, 1, 3)
        unit(f"{block}skip", outputs, inputs, 1)
    unit("hp", h, stem, 1)
    unit("hd", h, 1, 3)
    weights["out.weight"], weights["out.bias"] = 5 * normal(classes, b, 1, 1), normal(classes)
    return weights


def input_step(values: Tensor) -> Tensor:
    """Top-of-atmosphere values x 10000, (bands, rows, columns), to what the network sees."""
    low, width = (torch.tensor(numbers)[:, None, None] for numbers in (LOW, WIDTH))
    stretched = (torch.log(0.005 * values + 1) - low) / width
    return 1 / (1 + torch.exp(-(5 * stretched - 1)))


def logits(weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """(N, bands, rows, columns) to (N, classes, rows, columns)."""

    def unit(name: str, x: Tensor) -> Tensor:
        kernel = weights[f"{name}.weight"]
        groups = x.shape[1] if kernel.shape[1] == 1 and kernel.shape[2] == 3 else 1
        y = functional.conv2d(x, kernel, weights[f"{name}.bias"], padding=kernel.shape[2] // 2, groups=groups)
        scale, shift = weights[f"{name}.norm.weight"], weights[f"{name}.norm.bias"]
        mean, variance = weights[f"{name}.norm.mean"], weights[f"{name}.norm.variance"]
        y = (y - mean[:, None, None]) * (scale / torch.sqrt(variance + 1e-3))[:, None, None] + shift[
            :, None, None
        ]
        return y * torch.tanh(functional.softplus(y))

    def block(name: str, x: Tensor) -> Tensor:
        y = x
        for number in (1, 2, 3):
            y = unit(f"{name}{number}d", unit(f"{name}{number}p", y))
        return y + unit(f"{name}skip", x)

    half = functional.interpolate(
        unit("stem", x), scale_factor=0.5, mode="bilinear", align_corners=False, antialias=True
    )
    h = unit("hd", unit("hp", half))
    y = block("c", torch.cat([block("b", block("a", half)), h], dim=1))
    y = functional.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
    y = y / torch.linalg.vector_norm(y, dim=1, keepdim=True).clamp_min(1e-6)
    return functional.conv2d(y, weights["out.weight"], weights["out.bias"])
