"""What a user says of a model that its file does not: bands, classes, normalisation, pixel size, network."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from geoseg.classes import LandClass, complete_legend
from geoseg.errors import ModelError
from geoseg.models.card import ModelBand, ModelCard
from geoseg.models.catalog import ARCHITECTURE_OF, NOT_OPTIONS
from geoseg.models.transforms import Chain

_Value = TypeVar("_Value")
_CLASS = re.compile(r"(?:(?P<id>\d+)=)?(?P<name>.+?)(?::(?P<color>#[0-9a-fA-F]{6}))?")
# Half the width of a normal distribution between its 1st and 99th percentile, in standard deviations.
_HALF_RANGE = 2.326
_CHIP_SIZE = 512


@dataclass(frozen=True, kw_only=True)
class Description:
    """Everything about a model except its weights, as far as it is known; None where it is not.

    Attributes:
        name: name of the package.
        bands: common names of the bands, in the network's order.
        classes: the classes in the network's order: names, "ID=NAME", "NAME:#rrggbb" or "ID=NAME:#rrggbb".
        mean: subtracted from physical values, for each band or one for all.
        std: divided by then, for each band or one for all.
        value_range: 1st and 99th percentile of usual physical values, for each band or one pair for all;
            default from mean and std.
        transforms: what is done to physical values first, for each band or one chain for all.
        scale: physical = stored * scale + offset, as it was in the training data.
        offset: see `scale`.
        units: what physical values mean: "reflectance", "digital numbers" ...
        gsd: metres a pixel.
        chip_size: pixels a side of its chips.
        overlap: pixels that neighbouring chips share.
        architecture: name for `build_network`.
        encoder: name for `build_network`.
        network: further arguments of `build_network`.
        summary: one or two sentences.
        license: licence of the weights.
        citation: how to cite it.
        trained_on: training data in words.
        trust: plain words on where the model is, and is not, to be trusted.
    """

    name: str | None = None
    bands: Sequence[str] | None = None
    classes: Sequence[str] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    value_range: Sequence[tuple[float, float]] | None = None
    transforms: Sequence[Chain] | None = None
    scale: float | None = None
    offset: float | None = None
    units: str | None = None
    gsd: float | None = None
    chip_size: int | None = None
    overlap: int | None = None
    architecture: str | None = None
    encoder: str | None = None
    network: Mapping[str, Any] | None = None
    summary: str | None = None
    license: str | None = None
    citation: str | None = None
    trained_on: str | None = None
    trust: str | None = None

    def over(self, other: Description) -> Description:
        """Return this description, completed from another one where it says nothing."""
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(other, **{key: value for key, value in said.items() if value is not None})

    def check_agrees(self, found: Description, source: str) -> None:
        """Refuse what is said of the network if the source says otherwise.

        Args:
            found: what the source says.
            source: the file or folder, as messages name it.

        Raises:
            ModelError: naming the option to leave out.
        """
        for option in ("architecture", "encoder", "network"):
            own, given = getattr(found, option), getattr(self, option)
            if given is not None and given != own:
                flag = "option" if option == "network" else option
                raise ModelError(f"{source} says itself what its network is; leave out --{flag}")

    def card_of(self, network: Any, source: str) -> ModelCard:
        """Make the card of a network that `build_network` built; as `card`."""
        config = network.config
        name = ARCHITECTURE_OF[type(network).__name__]
        options = {key: value for key, value in config.items() if key not in NOT_OPTIONS}
        found = replace(self, architecture=name, encoder=config.get("encoder_name"), network=options)
        return found.card(source, config["in_channels"], config["classes"])

    def card(self, source: str, bands: int, classes: int) -> ModelCard:
        """Make the card of a package.

        Args:
            source: the file or folder, as messages name it.
            bands: how many bands the network reads.
            classes: how many classes it tells apart.

        Raises:
            ModelError: naming the option that is missing or does not fit.
        """
        chip_size = _CHIP_SIZE if self.chip_size is None else self.chip_size
        overlap = min(64, chip_size // 4) if self.overlap is None else self.overlap
        texts = ("units", "summary", "license", "citation", "trained_on", "trust")
        return ModelCard(
            name=self.name or "imported",
            bands=self._bands(source, bands),
            classes=self._classes(source, classes),
            architecture=self.architecture or "",
            encoder=self.encoder,
            network=self.network or {},
            chip_size=chip_size,
            overlap=overlap,
            value_scale=1.0 if self.scale is None else self.scale,
            value_offset=self.offset or 0.0,
            gsd=self.gsd,
            **{key: text for key in texts if (text := getattr(self, key)) is not None},
        )

    def _bands(self, source: str, count: int) -> tuple[ModelBand, ...]:
        if self.bands is None:
            raise ModelError(
                f"{source} does not say which {count} bands it reads; name them in its order, "
                "as in --bands blue,green,red"
            )
        if len(self.bands) != count:
            raise ModelError(f"{source} reads {count} bands, and --bands names {len(self.bands)}")
        if self.mean is None or self.std is None:
            raise ModelError(
                f"{source} does not say how its values are normalised; give --mean and --std, one for all "
                "bands or one for each, in units of values (--mean 0 --std 1 if they go in as they are)"
            )
        if self.transforms is not None and self.value_range is None:
            raise ModelError("--transforms goes with --range: usual values before they are transformed")
        means, stds = _each("--mean", self.mean, count), _each("--std", self.std, count)
        chains = _each("--transforms", self.transforms or ((),), count)
        normal = [(m - _HALF_RANGE * s, m + _HALF_RANGE * s) for m, s in zip(means, stds, strict=True)]
        ranges = _each("--range", self.value_range or normal, count)
        each = zip(self.bands, means, stds, ranges, chains, strict=True)
        return tuple(ModelBand(name, mean, std, *usual, chain) for name, mean, std, usual, chain in each)

    def _classes(self, source: str, count: int) -> tuple[LandClass, ...]:
        """Read the classes; an id that is not said is the next one, a colour is derived from the id."""
        if self.classes is None:
            raise ModelError(
                f"{source} does not say what its {count} classes are; name them in its order, "
                "as in --classes other,crop,water"
            )
        if len(self.classes) != count:
            raise ModelError(f"{source} tells {count} classes apart, and --classes names {len(self.classes)}")
        names: dict[int, str] = {}
        colors: dict[int, str] = {}
        for text in self.classes:
            match = _CLASS.fullmatch(text.strip())
            if match is None:
                raise ModelError(f'--classes: "{text}" is no class; write NAME, ID=NAME or ID=NAME:#rrggbb')
            number = int(match["id"]) if match["id"] else max(names, default=-1) + 1
            if names and number <= max(names):
                raise ModelError(f"--classes: id {number} of {match['name']} must be above {max(names)}")
            names[number] = match["name"]
            if match["color"]:
                colors[number] = match["color"]
        return complete_legend((), names, names, colors)


def _each(option: str, values: Sequence[_Value], count: int) -> Sequence[_Value]:
    """Repeat one value for all bands."""
    if len(values) not in (1, count):
        raise ModelError(f"{option} has {len(values)} values for {count} bands; give one, or one for each")
    return list(values) * (count if len(values) == 1 else 1)
