"""The U-Net of Ronneberger, Fischer and Brox (2015), https://arxiv.org/abs/1505.04597.

Two 3x3 convolutions with ReLU a level, 2x2 max pooling down, 2x2 transposed convolutions up, skips by
concatenation, channels doubled a level, a 1x1 convolution last. Two things differ from the paper, as in most
implementations since: convolutions are padded, so that logits are as large as the chip, and batch
normalisation follows each 3x3 convolution unless `norm` is "none".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.errors import ModelError

NORMS = ("batch", "none")


class UnetClassic(nn.Module):  # type: ignore[misc]
    """Maps (N, in_channels, rows, columns) float32 to logits (N, classes, rows, columns).

    Rows and columns must be multiples of `2 ** depth`.

    Args:
        in_channels: input bands.
        classes: output classes.
        depth: how often the network halves its resolution; 4 in the paper.
        width: channels of the first level, doubled at each level below; 64 in the paper. Or the channels of
            all `depth + 1` levels, such as [16, 48, 96, 192, 320]: a few at full resolution are cheap, and
            keep objects that are one pixel wide.
        norm: "batch" or "none" (the paper has none).

    Raises:
        ModelError: if an argument is out of range.

    Attributes:
        config: the arguments, as `config.json` keeps them.
        size_divisor: what rows and columns must be multiples of.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        depth: int = 4,
        width: int | Sequence[int] = 64,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "in_channels": in_channels,
            "classes": classes,
            "depth": depth,
            "width": list(width) if isinstance(width, list | tuple) else width,
            "norm": norm,
        }
        _check(self.config)
        self.size_divisor = 2**depth
        widths = [width * 2**level for level in range(depth + 1)] if isinstance(width, int) else list(width)
        self.down = nn.ModuleList(
            _two_convolutions(inputs, outputs, norm)
            for inputs, outputs in zip([in_channels, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(inputs, outputs, kernel_size=2, stride=2)
            for inputs, outputs in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.merge = nn.ModuleList(
            _two_convolutions(2 * outputs, outputs, norm) for outputs in widths[-2::-1]
        )
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(widths[0], classes, kernel_size=1)
        self.apply(_initialise)

    def forward(self, chips: Tensor) -> Tensor:
        """Compute logits (N, classes, rows, columns) of normalised chips (N, bands, rows, columns)."""
        skips = []
        features = self.down[0](chips)
        for level in list(self.down)[1:]:
            skips.append(features)
            features = level(self.pool(features))
        for up, merge in zip(self.up, self.merge, strict=True):
            features = merge(torch.cat([skips.pop(), up(features)], dim=1))
        return self.head(features)


def _two_convolutions(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers.append(nn.Conv2d(channels, outputs, kernel_size=3, padding=1, bias=norm == "none"))
        if norm == "batch":
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _initialise(module: nn.Module) -> None:
    """Draw Gaussian weights of standard deviation sqrt(2 / fan in), section 3 of the paper."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _check(config: dict[str, Any]) -> None:
    for key in ("in_channels", "classes", "depth"):
        if not _counts(config[key]):
            raise ModelError(
                f"unet-classic: `{key}` is {config[key]!r}; it must be a whole number of at least 1"
            )
    width, levels = config["width"], config["depth"] + 1
    if not _counts(width) and not (
        isinstance(width, list) and len(width) == levels and all(map(_counts, width))
    ):
        raise ModelError(
            f"unet-classic: `width` is {width!r}; it must be a whole number of at least 1, or one for "
            f"each of the {levels} levels of depth {config['depth']}"
        )
    if config["norm"] not in NORMS:
        raise ModelError(f'unet-classic: `norm` is {config["norm"]!r}; use "batch" or "none"')


def _counts(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
