"""Converted networks on this machine, so that a network is converted once.

An entry is one file: the SHA-256 of what follows, then that. It is written beside its place and renamed, so a
reader sees all of it or nothing, and an entry that was damaged counts as none.
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

_DIGEST = hashlib.sha256().digest_size
_KEPT = 32
"""Entries that are kept; the ones not used for longest go first."""
_ENDING = ".network"


def cache_folder() -> Path:
    """Where this user's converted networks are kept; the folder need not be there."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "geoseg" / "networks"


def recall(key: str) -> bytes | None:
    """What was kept under a key; None if nothing was, or if it is damaged.

    Args:
        key: letters, digits and dashes.
    """
    for folder in _folders():
        path = folder / f"{key}{_ENDING}"
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


def keep(key: str, data: bytes) -> Path | None:
    """Keep bytes under a key.

    Args:
        key: letters, digits and dashes.
        data: anything.

    Returns:
        The file, in the cache folder, or in a folder of this user among the temporary files where the cache
        folder cannot be written; None where neither can.
    """
    for folder in _folders():
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = _write(folder / f"{key}{_ENDING}", hashlib.sha256(data).digest() + data)
        except OSError:
            continue
        _prune(folder)
        return path
    return None


def _folders() -> Iterator[Path]:
    yield cache_folder()
    user = os.getuid() if hasattr(os, "getuid") else "user"
    temporary = Path(tempfile.gettempdir()) / f"geoseg-networks-{user}"
    if _is_private(temporary):
        yield temporary


def _is_private(folder: Path) -> bool:
    """Whether nobody else can put files here: the folder for temporary files belongs to all."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(state.st_mode):
        return False
    return not hasattr(os, "getuid") or (state.st_uid == os.getuid() and not state.st_mode & 0o022)


def _write(path: Path, content: bytes) -> Path:
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(beside, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    return path


def _prune(folder: Path) -> None:
    def used(path: Path) -> float:
        try:
            return path.stat().st_mtime
        except OSError:
            return 0.0

    for path in sorted(folder.glob(f"*{_ENDING}"), key=used, reverse=True)[_KEPT:]:
        with contextlib.suppress(OSError):
            path.unlink()
