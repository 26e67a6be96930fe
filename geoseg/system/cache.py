"""A cache on disk for results of this machine: converted networks, and measurements of their speed.

An entry is one file: the SHA-256 of its content, then the content. It is written atomically, and a damaged
entry counts as missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from geoseg.files import write_file

_DIGEST = hashlib.sha256().digest_size
NETWORKS, MEASURED = "networks", "measured"
"""Kinds of entries, each in its own folder."""
_KEPT = {NETWORKS: 32, MEASURED: 256}
"""Entries kept of each kind; the least recently used are removed first."""
_ENDINGS = {NETWORKS: ".network", MEASURED: ".figures"}


def cache_folder(kind: str = NETWORKS) -> Path:
    """Return the folder of this user's entries of a kind; it may not exist."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(base).expanduser() / "geoseg" / kind
    except RuntimeError:  # no home folder
        return _temporary(kind)


def recall(key: str, kind: str = NETWORKS) -> bytes | None:
    """Return the entry of a key; None if it is missing or damaged.

    Args:
        key: Letters, digits and dashes.
        kind: ``NETWORKS`` or ``MEASURED``.
    """
    for folder in _folders(kind):
        path = folder / f"{key}{_ENDINGS[kind]}"
        try:
            content = path.read_bytes()
        except OSError:
            continue
        data = content[_DIGEST:]
        if hashlib.sha256(data).digest() == content[:_DIGEST]:
            with contextlib.suppress(OSError):
                os.utime(path)
            return data
    return None


def keep(key: str, data: bytes, kind: str = NETWORKS) -> Path | None:
    """Store bytes under a key.

    Args:
        key: Letters, digits and dashes.
        data: The content.
        kind: ``NETWORKS`` or ``MEASURED``.

    Returns:
        The file, in the cache folder; or, if that cannot be written, in a private folder among the temporary
        files; None if neither can be written.
    """
    for folder in _folders(kind):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = folder / f"{key}{_ENDINGS[kind]}"
            write_file(path, hashlib.sha256(data).digest() + data, sync=False)  # damage is noticed
        except OSError:
            continue
        _prune(folder, kind)
        return path
    return None


def _folders(kind: str) -> Iterator[Path]:
    own, temporary = cache_folder(kind), _temporary(kind)
    if own != temporary:
        yield own
    if _is_private(temporary):
        yield temporary


def _temporary(kind: str) -> Path:
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"geoseg-{kind}-{user}"


def _is_private(folder: Path) -> bool:
    """Tell whether only this user can write to a folder: the folder for temporary files is shared."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(state.st_mode):
        return False
    return not hasattr(os, "getuid") or (state.st_uid == os.getuid() and not state.st_mode & 0o022)


def _prune(folder: Path, kind: str) -> None:
    def used(path: Path) -> float:
        try:
            return path.stat().st_mtime
        except OSError:
            return 0.0

    for path in sorted(folder.glob(f"*{_ENDINGS[kind]}"), key=used, reverse=True)[_KEPT[kind] :]:
        with contextlib.suppress(OSError):
            path.unlink()
