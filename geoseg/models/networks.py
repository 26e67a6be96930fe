"""Build networks by name, and check the chip sizes that they take."""

from __future__ import annotations

import contextlib
import inspect
import math
import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from geoseg.errors import ModelError
from geoseg.models.catalog import (
    ARCHITECTURE_OF,
    NOT_OPTIONS,
    OWN,
    TIMM_PREFIX,
    check_architecture,
    check_encoder,
    encoders_for,
    misfit,
    suggestion,
)

DEFAULT_ENCODER = "resnet34"
DEFAULT_VISION_TRANSFORMER = "tu-vit_small_patch16_224"

# Options of a timm encoder that smp passes on. An allow-list, because a config.json is untrusted and other
# options (`checkpoint_path`, `pretrained_cfg`) make timm read other files.
_ENCODER_OPTIONS = {"img_size", "dynamic_img_size", "dynamic_img_pad", "strict_img_size", "window_size"}
_ENCODER_OPTIONS |= {"drop_rate", "drop_path_rate", "proj_drop_rate", "attn_drop_rate"}
# Names from older versions of smp that it still accepts.
_FORMER_OPTIONS = {"decoder_use_batchnorm", "psp_use_batchnorm", "upscale_mode"}
_PROBE_SIZE = 256
_USUAL_DEPTH = 5
# Architectures that halve their input exactly as often as an option says.
_DEPTHS = dict.fromkeys(("unet", "unetplusplus", "manet", "linknet"), "encoder_depth")
# Errors with which smp and timm refuse arguments, and torch refuses shapes.
_REFUSALS = (ValueError, TypeError, LookupError, AssertionError, RuntimeError, AttributeError)


def build_network(
    architecture: str,
    *,
    encoder: str | None = None,
    encoder_weights: str | None = None,
    bands: int,
    classes: int,
    **options: Any,
) -> Any:
    """Build a network by name, in training mode, on the CPU.

    Args:
        architecture: one of `architectures()`.
        encoder: one of `encoders_for(architecture)`, or "tu-" and the name of a timm model; None for resnet34
            (`dpt`: a small vision transformer).
        encoder_weights: None for random weights; "imagenet", or another name that smp offers for the encoder,
            downloads them once.
        bands: number of input bands.
        classes: number of output classes.
        options: further arguments of the architecture, such as `decoder_channels` or `encoder_depth`;
            `unet-classic` takes `depth`, `width` and `norm`; timm encoders also take `img_size` and others.

    Returns:
        A torch Module: (N, bands, rows, columns) float32 to logits (N, classes, rows', columns').

    Raises:
        ModelError: if a name or an option is unknown, the encoder does not fit, or weights cannot be
            downloaded.
    """
    network = assemble(
        architecture,
        encoder=encoder,
        encoder_weights=encoder_weights,
        bands=bands,
        classes=classes,
        **options,
    )
    name = str(network.config.get("encoder_name", ""))
    if name.startswith(TIMM_PREFIX):
        _probe(network, architecture, name, bands)
    return network


def assemble(
    architecture: str,
    *,
    encoder: str | None,
    encoder_weights: str | None,
    bands: int,
    classes: int,
    **options: Any,
) -> Any:
    """Build a network as `build_network` does, without running it once to try its encoder."""
    check_architecture(architecture)
    for key, value in {"bands": bands, "classes": classes}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ModelError(f"`{key}` is {value!r}; it must be a whole number of at least 1")
    if architecture in OWN:
        return _own_network(architecture, encoder, encoder_weights, bands, classes, options)
    encoder = encoder or (DEFAULT_VISION_TRANSFORMER if architecture == "dpt" else DEFAULT_ENCODER)
    check_encoder(architecture, encoder)
    _check_options(architecture, encoder, options)
    arguments = {**options, "encoder_name": encoder, "in_channels": bands, "classes": classes}
    if encoder_weights is not None:
        return _with_pretrained_encoder(architecture, arguments, encoder_weights)
    return _smp_network(architecture, {**arguments, "encoder_weights": None})


def size_divisor(network: Any) -> int:
    """Return the number that rows and columns of a network's input must be multiples of.

    It is the stride of the deepest feature map, with two exceptions: PAN pools that map three times by 2, so
    it needs eight times that stride; DPT makes a map of stride 32 from any encoder's output. A network built
    with `img_size` takes only that size.

    Args:
        network: what `build_network` or `load_model` returned.

    Returns:
        Pixels, at least 1.
    """
    own = getattr(network, "size_divisor", None)
    if own is not None:
        return int(own)
    fixed = _fixed_size(network.config)
    if fixed is not None:
        return fixed
    stride = int(network.encoder.output_stride)
    if type(network).__name__ == "PAN":
        return 8 * stride
    return math.lcm(stride, 32) if type(network).__name__ == "DPT" else stride


def config_stride(config: Mapping[str, Any]) -> int | None:
    """Return the number that chip sides should be multiples of, without building the network.

    Args:
        config: a `config.json`.

    Returns:
        A multiple of `size_divisor` for the usual encoders; None if the network takes one size only.
    """
    if _fixed_size(config) is not None:
        return None
    architecture = ARCHITECTURE_OF.get(str(config.get("_model_class")), "")
    option = OWN[architecture].depth if architecture in OWN else _DEPTHS.get(architecture)
    depth = config.get(option) if option else None
    if isinstance(depth, int) and 0 <= depth <= _USUAL_DEPTH:
        return 1 << depth
    return 128 if architecture == "pan" else 1 << _USUAL_DEPTH


def check_chip_size(network: Any, chip_size: int) -> None:
    """Refuse chip sizes that a network cannot take even after padding to `size_divisor`.

    Raises:
        ModelError: with the size to use.
    """
    check_config_chip_size(network.config, chip_size)


def check_config_chip_size(config: Mapping[str, Any], chip_size: int) -> None:
    """Check a chip size as `check_chip_size` does, for the network that a `config.json` describes."""
    fixed = _fixed_size(config)
    if fixed is not None and chip_size > fixed:
        raise ModelError(
            f"this network takes chips of {fixed} pixels, its img_size, not {chip_size}; use {fixed}"
        )


def _fixed_size(config: Mapping[str, Any]) -> int | None:
    size = None if config.get("dynamic_img_size") else config.get("img_size")
    return int(size if isinstance(size, int) else max(size)) if size else None


def _own_network(
    architecture: str,
    encoder: str | None,
    encoder_weights: str | None,
    bands: int,
    classes: int,
    options: dict[str, Any],
) -> Any:
    if encoder is not None or encoder_weights is not None:
        raise ModelError(
            f"{architecture} has no encoder of its own; leave `encoder` and `encoder_weights` out"
        )
    own = OWN[architecture]
    network_class = getattr(import_module(own.module), own.class_name)
    _refuse_unknown(architecture, options, _options_of(network_class))
    return network_class(in_channels=bands, classes=classes, **options)


def _check_options(architecture: str, encoder: str, options: dict[str, Any]) -> None:
    import segmentation_models_pytorch as smp

    known = _options_of(smp.MODEL_ARCHITECTURES_MAPPING[architecture])
    if encoder.startswith(TIMM_PREFIX):
        known |= _ENCODER_OPTIONS
    _refuse_unknown(architecture, {key: options[key] for key in set(options) - _FORMER_OPTIONS}, known)


def _options_of(network_class: Any) -> set[str]:
    return set(inspect.signature(network_class.__init__).parameters) - {"self", "kwargs"} - NOT_OPTIONS


def _refuse_unknown(architecture: str, options: dict[str, Any], known: set[str]) -> None:
    for key in sorted(options):
        if key not in known:
            hint = suggestion(key, known)
            raise ModelError(
                f'{architecture} has no option "{key}"{hint}; it has: {", ".join(sorted(known))}'
            )


def _smp_network(architecture: str, arguments: dict[str, Any]) -> Any:
    """Build a network of smp; turn its errors into one line."""
    import segmentation_models_pytorch as smp

    encoder = str(arguments["encoder_name"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if architecture == "dpt" and not {"dynamic_img_size", "img_size"} & set(arguments):
                # Not every encoder has the option: position encodings may need none, or be fixed.
                with contextlib.suppress(TypeError):
                    return smp.create_model(architecture, **arguments, dynamic_img_size=True)
            return smp.create_model(architecture, **arguments)
    except _REFUSALS as error:
        if encoder in encoders_for(architecture):
            reason = f"cannot be built with these options: {_one_line(error)}"
            raise ModelError(f"{architecture} with encoder {encoder} {reason}") from error
        raise misfit(architecture, encoder, _one_line(error)) from error


def _with_pretrained_encoder(architecture: str, arguments: dict[str, Any], encoder_weights: str) -> Any:
    encoder = str(arguments["encoder_name"])
    # Without weights first, so that an error below comes from the download.
    _smp_network(architecture, {**arguments, "encoder_weights": None})
    weights: Any = True if encoder.startswith(TIMM_PREFIX) and architecture != "dpt" else encoder_weights
    try:
        return _smp_network(architecture, {**arguments, "encoder_weights": weights})
    except Exception as error:  # hub, timm and their HTTP client each have errors of their own
        reason = error.__cause__ or error if isinstance(error, ModelError) else error
        raise ModelError(
            f'weights "{encoder_weights}" for encoder "{encoder}" cannot be downloaded ({_one_line(reason)})'
            "; check the network and the name, or start from random weights (encoder_weights=None)"
        ) from error


def _probe(network: Any, architecture: str, encoder: str, bands: int) -> None:
    """Run a network with an encoder of timm once, because some can be built but do not run at every size."""
    import torch

    size = network.config.get("img_size") or _PROBE_SIZE
    rows, columns = (size, size) if isinstance(size, int) else size
    training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            network(torch.zeros(1, bands, rows, columns))
    except _REFUSALS as error:
        reason = f"{_one_line(error)}; if its image size is fixed, give it: img_size=<chip size>"
        raise misfit(architecture, encoder, reason) from error
    finally:
        network.train(training)


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(". ")
