"""The catalogue of architectures, and the encoders that fit each of them.

Architectures and encoders come from segmentation-models-pytorch (smp). To add an architecture of our own,
write one file with a `torch.nn.Module` like `unet_classic.UnetClassic`, and one line in `OWN` below.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from geoseg.errors import ModelError

TIMM_PREFIX = "tu-"


@dataclass(frozen=True, slots=True)
class OwnArchitecture:
    """Where the network of an architecture of our own is defined.

    Attributes:
        module: its module, imported when a network is built.
        class_name: its class, called with `in_channels`, `classes` and the user's options. Its instances
            keep these arguments in `config` (as `config.json` does) and say in `size_divisor` what rows and
            columns must be multiples of.
        depth: the option that says how often the network halves its input; None if it has none.
    """

    module: str
    class_name: str
    depth: str | None = None


OWN = {
    "unet-classic": OwnArchitecture("geoseg.models.unet_classic", "UnetClassic", depth="depth"),
    "dynamic-world": OwnArchitecture("geoseg.models.dynamic_world", "DynamicWorld"),
}
"""Architectures that smp does not have."""

SMP_CLASSES = {
    name.lower(): name
    for name in (
        *("Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "PAN", "DeepLabV3", "DeepLabV3Plus"),
        *("UPerNet", "Segformer", "DPT"),
    )
}
"""Architecture, as `smp.create_model` names it -> its class, as `config.json` names it.

Written down because `smp.MODEL_ARCHITECTURES_MAPPING` imports torch; a test compares the two.
"""

# smp refuses mix transformers for these by name: their first two feature maps are empty.
_WITHOUT_MIX_TRANSFORMER = {"unetplusplus", "linknet"}
_DILATED = {"pan", "deeplabv3", "deeplabv3plus"}
# timm modules whose networks give tokens on one grid at any image size, tried one by one.
_VIT_MODULES = ("vision_transformer", "deit", "eva")

NOT_OPTIONS = frozenset(
    ("_model_class", "encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params")
)
"""Keys of a `config.json` that are no options of an architecture: `assemble` is given them under other names,
or they are fixed, because networks return logits and packages contain their weights."""

ARCHITECTURE_OF = {class_name: name for name, class_name in SMP_CLASSES.items()} | {
    architecture.class_name: name for name, architecture in OWN.items()
}
"""Class of a network, as `config.json` names it -> its architecture."""


def architectures() -> tuple[str, ...]:
    """Return the names that `build_network` knows."""
    return (*SMP_CLASSES, *OWN)


def encoders_for(architecture: str) -> tuple[str, ...]:
    """List the encoders that fit an architecture.

    For `dpt` these are vision transformers of timm, for the others the encoders of smp. Most feature
    extractors of timm fit too, as "tu-<timm name>"; `build_network` runs such a network once to check it.

    Args:
        architecture: one of `architectures()`.

    Returns:
        Names in smp's order; none for our own architectures.

    Raises:
        ModelError: if there is no such architecture.
    """
    check_architecture(architecture)
    if architecture in OWN:
        return ()
    if architecture == "dpt":
        return _vision_transformers()
    from segmentation_models_pytorch.encoders import encoders

    names: list[str] = list(encoders)
    if architecture in _WITHOUT_MIX_TRANSFORMER:
        names = [name for name in names if not name.startswith("mit_b")]
    if architecture in _DILATED:
        names = [name for name in names if _can_dilate(encoders[name]["encoder"])]
    return tuple(names)


def check_architecture(architecture: str) -> None:
    """Refuse an unknown architecture, listing those there are.

    Raises:
        ModelError: with the closest name.
    """
    if architecture not in architectures():
        raise ModelError(
            f'there is no architecture "{architecture}"{suggestion(architecture, architectures())}; '
            f"there are: {', '.join(architectures())}"
        )


def check_encoder(architecture: str, encoder: str) -> None:
    """Refuse an encoder that does not fit, listing those that do.

    Args:
        architecture: one of smp's.
        encoder: name of an encoder of smp, or "tu-" and the name of a model of timm.

    Raises:
        ModelError: with the closest name and all that fit.
    """
    if encoder.startswith(TIMM_PREFIX):
        _check_timm_name(encoder)
        return
    fitting = encoders_for(architecture)
    if encoder not in fitting:
        raise misfit(architecture, encoder, "")


def misfit(architecture: str, encoder: str, reason: str) -> ModelError:
    """Make the error for an encoder that does not fit.

    Args:
        architecture: one of `architectures()`.
        encoder: the name of the encoder.
        reason: why it does not fit; may be empty.
    """
    fitting = encoders_for(architecture)
    why = f" ({reason})" if reason else ""
    more = (
        ""
        if architecture == "dpt"
        else f'; most feature extractors of timm fit too, as "{TIMM_PREFIX}<name>"'
    )
    return ModelError(
        f'encoder "{encoder}" does not fit {architecture}{why}{suggestion(encoder, fitting)}; '
        f"these fit: {', '.join(fitting)}{more}"
    )


def suggestion(name: str, known: Iterable[str]) -> str:
    """Suggest a known name that is close (`, did you mean "unet"?`), or nothing."""
    close = difflib.get_close_matches(str(name).lower(), list(known), n=1)
    return f', did you mean "{close[0]}"?' if close else ""


def _can_dilate(encoder_class: type) -> bool:
    """Tell whether an encoder keeps smp's `make_dilated`; those that cannot dilate override it to refuse."""
    from segmentation_models_pytorch.encoders._base import EncoderMixin

    return getattr(encoder_class, "make_dilated", None) is EncoderMixin.make_dilated


def _vision_transformers() -> tuple[str, ...]:
    """List plain vision transformers with patches of 8, 16 or 32 pixels; smp's DPT scales by powers of 2."""
    import timm

    names = [name for module in _VIT_MODULES for name in timm.list_models(module=module)]
    return tuple(
        f"{TIMM_PREFIX}{name}" for name in names if any(f"patch{size}_" in f"{name}_" for size in (8, 16, 32))
    )


def _check_timm_name(encoder: str) -> None:
    """Refuse names that timm does not list: "hf-hub:..." and "local-dir:..." would read other files."""
    import timm

    name = encoder.removeprefix(TIMM_PREFIX)
    if ":" in name or "/" in name or not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"; closest: {', '.join(TIMM_PREFIX + match for match in close)}" if close else ""
        raise ModelError(
            f'timm has no model "{name}" for encoder "{encoder}"{hint}; timm.list_models() lists them'
        )
