"""Names of classes, bands and columns, compared whatever their case and their Unicode form."""

from __future__ import annotations

import unicodedata


def name_key(name: object) -> str:
    """Return the form of a name in which two that people read as the same are equal.

    An accent may be stored with its letter or after it (Unicode's NFC and NFD), and programs write both.
    """
    folded = unicodedata.normalize("NFD", str(name)).casefold()
    return unicodedata.normalize("NFC", folded).strip()
