"""Import the network of Dynamic World from a safetensors file of its published weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from geoseg.models.importers.description import Description
from geoseg.models.importers.importer import ImportSource
from geoseg.models.importers.network import network_of_weights
from geoseg.models.package import save_model
from geoseg.models.transforms import Chain, Transform

ARCHITECTURE = "dynamic-world"
_MARKS = {"stem.norm.variance", "askip.weight", "c3d.norm.mean", "hd.weight", "out.weight"}
# As the tensors of a unit are called in the file -> in the network.
_OF_UNIT = {
    "weight": "conv.weight",
    "bias": "conv.bias",
    "norm.weight": "norm.weight",
    "norm.bias": "norm.bias",
    "norm.mean": "norm.running_mean",
    "norm.variance": "norm.running_var",
}
# Common name; low and width of the logarithms, as published; usual reflectance in round figures.
_BANDS = (
    ("blue", 1.74173, 2.02330, 0.06, 0.30),
    ("green", 1.72612, 2.03891, 0.05, 0.30),
    ("red", 1.67983, 2.17959, 0.03, 0.32),
    ("rededge071", 1.77350, 2.28901, 0.04, 0.35),
    ("rededge075", 2.28915, 2.61717, 0.06, 0.50),
    ("rededge078", 2.38294, 2.77341, 0.06, 0.55),
    ("nir", 2.38289, 2.75783, 0.05, 0.55),
    ("swir16", 2.19525, 2.78909, 0.03, 0.50),
    ("swir22", 1.55481, 2.41405, 0.02, 0.40),
)
_CLASSES = (
    ("water", "#419bdf"),
    ("trees", "#397d49"),
    ("grass", "#88b053"),
    ("flooded vegetation", "#7a87c6"),
    ("crops", "#e49635"),
    ("shrub and scrub", "#dfc35a"),
    ("built", "#c4281b"),
    ("bare", "#a59b8f"),
    ("snow and ice", "#b39fe1"),
)
_FOUND = Description(
    architecture=ARCHITECTURE,
    summary="Land cover of the world from nine bands of Sentinel-2: the network of Dynamic World.",
    gsd=10.0,
    license="Apache-2.0",
    citation=(
        "Brown, C. F. et al. (2022): Dynamic World, near real-time global 10 m land use land cover mapping. "
        "Scientific Data 9, 251. https://doi.org/10.1038/s41597-022-01307-4"
    ),
    trained_on="Sentinel-2 L1C scenes from all over the world, labelled for Dynamic World",
    trust=(
        "Reads top-of-atmosphere reflectance (Sentinel-2 L1C); surface reflectance (L2A) gives many wrong "
        "classes. Clouds are no class: mask them."
    ),
)


def _chain(low: float, width: float) -> Chain:
    """The published steps for reflectance x 10000, as a chain for reflectance."""
    steps = (("log", 0.005 * 1e4), ("offset", -low), ("scale", 1 / width), ("scale", 5), ("offset", -1))
    return (*(Transform(kind, value) for kind, value in steps), Transform("sigmoid"))


_INPUT = Description(
    bands=tuple(name for name, *_ in _BANDS),
    transforms=tuple(_chain(low, width) for _, low, width, *_ in _BANDS),
    mean=(0,),
    std=(1,),
    value_range=tuple((low, high) for *_, low, high in _BANDS),
    scale=1e-4,
    units="top-of-atmosphere reflectance",
)
_OUTPUT = Description(classes=tuple(f"{name}:{color}" for name, color in _CLASSES))


class DynamicWorldWeights:
    """Safetensors files with tensors as `stem.weight`, `a1p.norm.mean` and `out.bias`."""

    kind = "the weights of Dynamic World's network (.safetensors)"

    def recognises(self, source: ImportSource) -> bool:
        """See `Importer`."""
        return source.tensors is not None and set(source.tensors) >= _MARKS

    def convert(self, source: ImportSource, said: Description, folder: Path) -> Path:
        """See `Importer`."""
        tensors = source.tensors or {}
        said.check_agrees(Description(), source.shown)
        width = [len(tensors[f"{unit}.weight"]) for unit in ("stem", "askip", "cskip", "hd")]
        described = said.over(replace(_FOUND, network={"width": width}))
        if tensors["stem.weight"].shape[1] == len(_BANDS):
            described = described.over(_INPUT)
        if len(tensors["out.weight"]) == len(_CLASSES):
            described = described.over(_OUTPUT)
        renamed = {_renamed(name): tensor for name, tensor in tensors.items()}
        network = network_of_weights(renamed, described, source.shown)
        return save_model(folder, described.card_of(network, source.shown), network)


def _renamed(name: str) -> str:
    """Name a tensor as in `geoseg.models.dynamic_world`."""
    unit, _, part = name.partition(".")
    return f"head.{part}" if unit == "out" else f"encoder.{unit}.{_OF_UNIT.get(part, part)}"
