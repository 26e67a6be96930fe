"""Hide passwords, signatures and tokens in all text that leaves the process.

Messages, reports, pages and tables name files, and the address of a file may hold the key to it.
What is written passes through ``redacted`` last, so the rest of the code need not think of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

SECRET_NAME = re.compile(
    r"SECRET|PASSW|USERPWD|TOKEN|CREDENTIAL|SIGNATURE|ACCESS_?KEY|ACCOUNT_?KEY|API_?KEY|CONNECTION_STRING"
    r"|(?:^|_)SAS(?:$|_)|HTTP_(?:HEADERS|COOKIE)",
    re.IGNORECASE,
)
"""Found in the names of variables whose values are not shown."""

_HIDDEN = "***"
_SHORTEST = 8
"""A shorter value of such a variable is a switch rather than a secret."""
_PLAIN = frozenset(
    "band bands bbox collection collections crs dataset date datetime file filename format height id item "  # noqa: SIM905
    "items layer layers name path request rows service srs styles time url version width x y z".split()
)
"""Parameters of an address whose values say which file it is; the values of all others are hidden."""
_END = r"[:;,.)\]'}]*(?:\s|$)"
_USER = re.compile(
    r'(?<=://)(?:[^/\s"<>]*|[^\s/:@"<>]+:(?!\d+(?:/|$))[^\s"<>]*)@|(?<=%3A%2F%2F)(?:(?!%2F)[^\s"<>])*%40',
    re.IGNORECASE,
)
_PARAMETER = re.compile(
    rf'([?&#]|&amp;|%3F|%26)([\w.$~+-]{{1,64}}?)(=|%3D)((?:(?!%26|{_END})[^&\s"<>])+)', re.IGNORECASE
)
_NAMED = re.compile(
    r"((?:passw(?:or)?d|pwd|secret|signature|token|credential|(?:access|account|api)[_-]?key|\bsig|\bsas)"
    rf"[\w.-]{{0,40}}=)('[^']*'|(?:(?!{_END})[^\s&\"<>])+)",
    re.IGNORECASE,
)
_HEADER = re.compile(r"(\bauthorization:\s*(?:\w+\s+)?|\bbearer\s+|<UserPwd>)[^\s<\"]+", re.IGNORECASE)


def redacted(content: Any) -> Any:
    """Return text, or all text in lists and mappings, without secrets.

    Hidden are user names and passwords of addresses, the values of their parameters (but those that say which
    file it is), what is called a password or token, and the values of environment variables called so.
    """
    if isinstance(content, str):
        return _without_secrets(content)
    if isinstance(content, Mapping):
        return {redacted(key): redacted(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [redacted(value) for value in content]
    return content


def _without_secrets(text: str) -> str:
    for value in _secret_variables():
        text = text.replace(value, _HIDDEN)
    text = _USER.sub(lambda found: _HIDDEN + ("%40" if found[0].endswith("%40") else "@"), text)
    text = _PARAMETER.sub(_without_value, text)
    text = _NAMED.sub(rf"\1{_HIDDEN}", text)
    return _HEADER.sub(rf"\1{_HIDDEN}", text)


def _without_value(found: re.Match[str]) -> str:
    sign, key, equals, value = found.groups()
    shown = _PARAMETER.sub(_without_value, value) if key.lower() in _PLAIN else _HIDDEN
    return f"{sign}{key}{equals}{shown}"


def _secret_variables() -> list[str]:
    """Values of environment variables that are secrets, the longest first; the path of a file is none."""
    found = {value for name, value in os.environ.items() if SECRET_NAME.search(name)}
    return sorted(
        (value for value in found if len(value) >= _SHORTEST and not os.path.isabs(value)),
        key=len,
        reverse=True,
    )
