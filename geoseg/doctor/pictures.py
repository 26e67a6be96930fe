"""Models of 8-bit pictures: a scene of other numbers must not be taken for one.

Reflectance stored as whole numbers (0.02 as 200) can lie where picture values lie, so the range alone does
not tell them apart: the data type, and whether any value exceeds 255, do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from geoseg.doctor.findings import Finding

if TYPE_CHECKING:
    from geoseg.doctor.band_values import BandValues
    from geoseg.models.card import ModelCard

_WHITE = 255
_WHITE_16 = 65535
_LEAST_WHITE = 0.9
"""Share of full white that the brightest pixels of a picture reach; surface reflectance times 10,000 or the
numbers of Landsat Collection 2 stay far below 65535."""


def wants_picture(card: ModelCard) -> bool:
    """Whether a model was trained on 8-bit pictures: unscaled digital numbers from 0 to 255."""
    highest = max(band.high for band in card.bands)
    is_unscaled = card.value_scale == 1 and card.value_offset == 0
    return "digital number" in card.units.lower() and is_unscaled and 2 < highest <= _WHITE


def check_depth(bands: Sequence[BandValues]) -> Finding | None:
    """Do the bands hold 8-bit picture values? For a model that reads such.

    Args:
        bands: Sampled values, each with at least one.

    Returns:
        A finding that stops where values lie outside 0 to 255, one that warns where they lie inside but are
        stored in a type that pictures are not stored in, unscaled; or None.
    """
    deep = [band for band in bands if str(band.stored.dtype) != "uint8"]
    if not deep:
        return None
    low = min(float(band.now().min()) for band in deep)
    high = max(float(band.now().max()) for band in deep)
    stored = " and ".join(dict.fromkeys(str(band.stored.dtype) for band in deep))
    found = f"{stored} values from {low:.4g} to {high:.4g}"
    if low < 0 or high > _WHITE:
        return Finding(
            "stop",
            "value-range",
            f"the model reads 8-bit pictures (0 to 255), and the scene holds {found}",
            picture_mend(bands),
            f"reads 8-bit pictures, and the scene holds {found}",
        )
    if any((band.band.scale, band.band.offset) != (1, 0) for band in deep):
        return None
    return Finding(
        "warn",
        "picture-type",
        f"the model reads 8-bit pictures, and the scene holds {found}: taken for picture values all the same",
        "if they are reflectance, use a model that reads reflectance",
    )


def picture_mend(bands: Sequence[BandValues]) -> str:
    """What makes a picture of other values: the scale of 16-bit and of 0-1 pictures, else a conversion."""
    top = max(float(band.now().max()) for band in bands)
    for white, scale in ((_WHITE_16, "0.00389105"), (1.0, "255")):
        if _LEAST_WHITE * white <= top <= white:
            return f"--scale {scale}, if this is a picture whose white is {white:g}"
    return (
        "use the product's 8-bit true-colour picture or make one with gdal_translate -ot Byte -scale, or use "
        "a model for these values"
    )
