"""The network of Dynamic World (Brown et al. 2022), https://doi.org/10.1038/s41597-022-01307-4.

A convolution at full resolution, residual blocks of depthwise convolutions at half resolution, and a linear
head on features of unit length. It sees 22 pixels far, so it knows texture and neighbours, not objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.errors import ModelError

_EPSILON = 1e-3
_PAIRS = (1, 2, 3)
# Channels of the stem, of block a, of blocks b and c, and of the branch beside them.
_WIDTH = (64, 96, 144, 48)


class DynamicWorld(nn.Module):  # type: ignore[misc]
    """Maps (N, in_channels, rows, columns) float32 to logits (N, classes, rows, columns), both even.

    Args:
        in_channels: input bands.
        classes: output classes.
        width: channels of the first convolution, 64 in the paper, the others in proportion; a multiple of 4.
            Or the channels of the first convolution, of block a, of blocks b and c, and of the branch beside
            them: [64, 96, 144, 48].

    Raises:
        ModelError: if an argument is out of range.

    Attributes:
        config: the arguments, as `config.json` keeps them.
        size_divisor: what rows and columns must be multiples of.
    """

    size_divisor = 2

    def __init__(self, in_channels: int, classes: int, width: int | Sequence[int] = _WIDTH[0]) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "in_channels": in_channels,
            "classes": classes,
            "width": list(width) if isinstance(width, list | tuple) else width,
        }
        _check(self.config)
        stem, a, b, h = [full * width // _WIDTH[0] for full in _WIDTH] if isinstance(width, int) else width
        self.encoder = nn.ModuleDict({"stem": _Unit(in_channels, stem, 3)})
        for name, inputs, outputs in (("a", stem, a), ("b", a, b), ("c", b + h, b)):
            for pair in _PAIRS:
                self.encoder[f"{name}{pair}p"] = _Unit(inputs if pair == 1 else outputs, outputs)
                self.encoder[f"{name}{pair}d"] = _Unit(outputs, outputs, 3, groups=outputs)
            self.encoder[f"{name}skip"] = _Unit(inputs, outputs)
        self.encoder["hp"] = _Unit(stem, h)
        self.encoder["hd"] = _Unit(h, h, 3, groups=h)
        self.head = nn.Conv2d(b, classes, kernel_size=1)

    def forward(self, chips: Tensor) -> Tensor:
        """Compute logits (N, classes, rows, columns) of normalised chips (N, bands, rows, columns)."""
        half = _halve(self.encoder["stem"](chips))
        beside = self.encoder["hd"](self.encoder["hp"](half))
        features = self._block("b", self._block("a", half))
        features = self._block("c", torch.cat([features, beside], dim=1))
        features = functional.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
        return self.head(functional.normalize(features, dim=1))

    def _block(self, name: str, features: Tensor) -> Tensor:
        result = features
        for pair in _PAIRS:
            result = self.encoder[f"{name}{pair}d"](self.encoder[f"{name}{pair}p"](result))
        return result + self.encoder[f"{name}skip"](features)


class _Unit(nn.Module):  # type: ignore[misc]
    """Convolution, batch normalisation, mish."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups)
        self.norm = nn.BatchNorm2d(outputs, eps=_EPSILON)
        self.mish = nn.Mish()

    def forward(self, features: Tensor) -> Tensor:
        return self.mish(self.norm(self.conv(features)))


def _halve(features: Tensor) -> Tensor:
    """Halve the size bilinearly without aliasing: weights 1, 3, 3, 1, beyond the edge none.

    It is what `interpolate(..., antialias=True)` does, as a convolution, which every runtime has.
    """
    channels = features.shape[1]
    line = features.new_tensor([0.125, 0.375, 0.375, 0.125])
    kernel = (line[:, None] * line).expand(channels, 1, 4, 4)
    inside = functional.conv2d(torch.ones_like(features[:1, :1]), kernel[:1], stride=2, padding=1)
    return functional.conv2d(features, kernel, stride=2, padding=1, groups=channels) / inside


def _check(config: dict[str, Any]) -> None:
    for key in ("in_channels", "classes"):
        if not _counts(config[key]):
            raise ModelError(
                f"dynamic-world: `{key}` is {config[key]!r}; it must be a whole number of at least 1"
            )
    width = config["width"]
    is_list = isinstance(width, list) and len(width) == len(_WIDTH) and all(map(_counts, width))
    if not is_list and not (_counts(width) and width % 4 == 0):
        raise ModelError(
            f"dynamic-world: `width` is {width!r}; it must be a multiple of 4, or {len(_WIDTH)} whole "
            "numbers of at least 1"
        )


def _counts(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
