"""Which label values can be class ids, and how to remap those that cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from geoseg.errors import ModelError

MAX_CLASS_ID = 254
"""The class map is uint8 and 255 is its nodata value."""


def remap_class_ids(ids: Iterable[int]) -> dict[int, int]:
    """Give every label value that cannot be a class id the lowest free one.

    Args:
        ids: label values, repeats allowed.

    Returns:
        Old value -> new id, by ascending old value, for those that must change; empty if none must.

    Raises:
        ModelError: if there are more than 255 different values.
    """
    values = sorted(set(ids))
    if len(values) > MAX_CLASS_ID + 1:
        raise ModelError(
            f"{len(values)} classes are more than a map can hold ({MAX_CLASS_ID + 1}); merge some"
        )
    kept = {value for value in values if _fits(value)}
    free = (number for number in range(MAX_CLASS_ID + 1) if number not in kept)
    return {value: next(free) for value in values if value not in kept}


def check_class_ids(ids: Sequence[int]) -> None:
    """Refuse ids outside 0-254 and ids used twice.

    Args:
        ids: one id a class.

    Raises:
        ModelError: naming the ids and the remapping to use.
    """
    for value in ids:
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise ModelError(f"class id {value!r} is not a whole number from 0 to {MAX_CLASS_ID}")
    wrong = remap_class_ids(ids)
    if wrong:
        pairs = ", ".join(f"{old} -> {new}" for old, new in wrong.items())
        raise ModelError(
            f"class ids are 0 to {MAX_CLASS_ID} (255 is nodata); remap the labels that are not: {pairs}"
        )
    repeated = [value for value, count in Counter(ids).items() if count > 1]
    if repeated:
        pairs = ", ".join(
            f"a second {value} -> {new}" for value, new in zip(repeated, _free(ids), strict=False)
        )
        raise ModelError(f"class ids must be unique; remap the labels that repeat: {pairs}")


def _fits(value: int) -> bool:
    return 0 <= value <= MAX_CLASS_ID


def _free(ids: Iterable[int]) -> list[int]:
    used = set(ids)
    return [number for number in range(MAX_CLASS_ID + 1) if number not in used]
