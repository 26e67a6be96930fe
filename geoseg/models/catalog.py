"""Names of the architectures, and which encoders fit which.

Architectures and encoders come from segmentation-models-pytorch (smp); `unet-classic` is our own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from geoseg.errors import ModelError

UNET_CLASSIC = "unet-classic"
UNET_CLASSIC_CLASS = "UnetClassic"
TIMM_PREFIX = "tu-"

SMP_CLASSES = {
    "unet": "Unet",
    "unetplusplus": "UnetPlusPlus",
    "manet": "MAnet",
    "linknet": "Linknet",
    "fpn": "FPN",
    "pspnet": "PSPNet",
    "pan": "PAN",
    "deeplabv3": "DeepLabV3",
    "deeplabv3plus": "DeepLabV3Plus",
    "upernet": "UPerNet",
    "segformer": "Segformer",
    "dpt": "DPT",
}
"""Architecture -> class in segmentation_models_pytorch, as `config.json` names it."""

# smp refuses these by name: their first two feature maps are empty.
_WITHOUT_MIX_TRANSFORMER = {"unetplusplus", "linknet"}
_DILATED = {"pan", "deeplabv3", "deeplabv3plus"}
# timm modules whose networks give tokens on one grid at any image size, tried one by one.
_VIT_MODULES = ("vision_transformer", "deit", "eva")


def architectures() -> tuple[str, ...]:
    """Names that `build_network` knows."""
    return (*SMP_CLASSES, UNET_CLASSIC)


def encoders_for(architecture: str) -> tuple[str, ...]:
    """Encoders that fit an architecture, by name.

    For `dpt` these are vision transformers of timm, for the others what smp brings itself. Most feature
    extractors of timm fit too, as "tu-<timm name>"; `build_network` runs them once to find out.

    Args:
        architecture: one of `architectures()`.

    Returns:
        Names in smp's order; none for `unet-classic`.

    Raises:
        ModelError: if there is no such architecture.
    """
    check_architecture(architecture)
    if architecture == UNET_CLASSIC:
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
        architecture: one of `architectures()`, not `unet-classic`.
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
    """The error for an encoder that does not fit.

    Args:
        architecture: one of `architectures()`.
        encoder: what was asked for.
        reason: why not, empty if there is nothing to add.
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
    """`, did you mean "unet"?` for a name that is close to a known one, else nothing."""
    close = difflib.get_close_matches(str(name).lower(), list(known), n=1)
    return f', did you mean "{close[0]}"?' if close else ""


def _can_dilate(encoder_class: type) -> bool:
    """Whether an encoder keeps smp's own `make_dilated`; those that cannot dilate override it to refuse."""
    from segmentation_models_pytorch.encoders._base import EncoderMixin

    return getattr(encoder_class, "make_dilated", None) is EncoderMixin.make_dilated


def _vision_transformers() -> tuple[str, ...]:
    """Plain vision transformers with patches of 8, 16 or 32 pixels: smp's DPT scales by powers of two."""
    import timm

    names = [name for module in _VIT_MODULES for name in timm.list_models(module=module)]
    return tuple(
        f"{TIMM_PREFIX}{name}" for name in names if any(f"patch{size}_" in f"{name}_" for size in (8, 16, 32))
    )


def _check_timm_name(encoder: str) -> None:
    """Only names in timm's own registry: "hf-hub:..." and "local-dir:..." would read files from elsewhere."""
    import timm

    name = encoder.removeprefix(TIMM_PREFIX)
    if ":" in name or "/" in name or not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"; closest: {', '.join(TIMM_PREFIX + match for match in close)}" if close else ""
        raise ModelError(
            f'timm has no model "{name}" for encoder "{encoder}"{hint}; timm.list_models() lists them'
        )
