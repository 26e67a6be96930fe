"""Atomic output files, temporary files, and folders for unfinished work.

A file is written beside its final place under a hidden name with the same ending, because GDAL goes by the
ending (``.map.1234.5f0c.part.tif``); then it is flushed to the disk and renamed. Files that belong together
are staged first and then published together. Temporary names hold the process id, by which the leftovers of a
killed process are recognised.
"""

from __future__ import annotations

import codecs
import glob
import io
import json
import logging
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from geoseg.errors import InputError, OutputError, RunError
from geoseg.redaction import redacted

_LOGGER = logging.getLogger(__name__)
_TEMPORARY = re.compile(r"\.(?P<stem>.+)\.(?P<pid>\d+)\.[0-9a-f]+\.part(?P<rest>.*)", re.DOTALL)
"""Names from ``temporary_path``; GDAL and SQLite append to them (``.part.gpkg-journal``)."""
_LONGEST_STEM = 160
"""Bytes; file systems allow names of 255."""
_LONGEST_SHOWN = 300
"""Characters of a path in a message."""
_GEOTIFF = (".tif", ".tiff")
_SQLITE = (".gpkg",)


def look_at(path: str | os.PathLike[str]) -> os.stat_result | None:
    """Look at a local file or folder; None if there is none of that name.

    ``Path.exists`` and its like raise what no caller names where the system does not even look: a name of
    thousands of characters, links in a loop, a folder that is closed to the user.

    Raises:
        InputError: If the path cannot be looked at.
    """
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # ValueError: a NUL or a lone surrogate in the name
        name = os.fspath(path)
        name = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]} ..."
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{name!r} cannot be looked at ({reason}); check the path") from error


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file or folder; errors as ``look_at``."""
    return look_at(path) is not None


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file; errors as ``look_at``."""
    state = look_at(path)
    return state is not None and stat.S_ISREG(state.st_mode)


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether there is a folder; errors as ``look_at``."""
    state = look_at(path)
    return state is not None and stat.S_ISDIR(state.st_mode)


def temporary_path(path: Path) -> Path:
    """Return a unique hidden name beside a path, with the same ending."""
    return path.with_name(f".{_short_stem(path)}.{os.getpid()}.{secrets.token_hex(4)}.part{path.suffix}")


def _short_stem(path: Path) -> str:
    """The start of a name, to which as much can be added as a temporary name has."""
    return os.fsencode(path.stem)[:_LONGEST_STEM].decode(errors="ignore")


@contextmanager
def atomic(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Write a file that appears complete or not at all.

    Args:
        path: The final name; an existing file is replaced, and stale sidecars are removed.
        sync: Whether to flush the file to the disk, so that it survives a power cut. Without it many small
            files are written faster, and a killed process still leaves no partial file.

    Yields:
        The temporary name to write to. The file gets its final name when the block ends, and is removed if
        the block raises.

    Raises:
        OSError: If it cannot be flushed or renamed.
    """
    with atomic_group([path], sync=sync) as (part,):
        yield part


@contextmanager
def atomic_group(paths: Sequence[Path], *, sync: bool = True) -> Iterator[list[Path]]:
    """Write several files that appear together, complete, or not at all; see ``atomic``.

    Args:
        paths: The final names, in the order in which files appear: sidecars first, the main file last.
        sync: As for ``atomic``.

    Yields:
        The temporary names to write to.
    """
    files = [StagedFile.beside(path) for path in paths]
    try:
        yield [file.staged for file in files]
        _publish(files, sync=sync)
    except BaseException:
        discard(files)
        raise


@dataclass(frozen=True)
class StagedFile:
    """A file under a temporary name, to be published with the other files of its run.

    Attributes:
        staged: Its temporary name.
        final: Its final name.
    """

    staged: Path
    final: Path

    @classmethod
    def beside(cls, final: Path) -> StagedFile:
        """Choose a temporary name for a file to write."""
        return cls(temporary_path(final), final)


def publish(files: Sequence[StagedFile]) -> None:
    """Flush complete files to the disk, remove stale sidecars, and give the files their final names.

    Args:
        files: In the order in which they appear: sidecars first, the main file last.

    Raises:
        RunError: If the disk is full.
    """
    try:
        _publish(files, sync=True)
    except OSError as error:
        names = ", ".join(str(file.final) for file in files)
        raise RunError(f"{names} cannot be written ({error}); is the disk full?") from error


def _publish(files: Sequence[StagedFile], *, sync: bool) -> None:
    if sync:
        for file in files:
            _flush_to_disk(file.staged)
    fresh = {file.final for file in files}
    for file in files:
        for stale in stale_sidecars(file.final):
            if stale not in fresh:
                stale.unlink(missing_ok=True)
    for file in files:
        os.replace(file.staged, file.final)
        _LOGGER.debug("wrote %s", file.final)


def discard(files: Iterable[StagedFile]) -> None:
    """Remove files that will not be published, and the files that GDAL and SQLite left beside them."""
    for file in files:
        staged = file.staged
        for left in staged.parent.glob(f"{glob.escape(staged.stem)}*"):
            with suppress(OSError):
                left.unlink()


def stale_sidecars(path: Path) -> tuple[Path, ...]:
    """List sidecars of an older file that GDAL, QGIS or SQLite would read together with the new one."""
    suffix = path.suffix.lower()
    endings: tuple[str, ...] = ()
    if suffix in _GEOTIFF:  # GDAL's statistics, overviews and mask
        endings = (".aux.xml", ".ovr", ".msk")
    elif suffix in _SQLITE:  # SQLite takes these for unfinished writes
        endings = ("-wal", "-shm", "-journal")
    beside = tuple(path.with_name(path.name + ending) for ending in endings)
    return (*beside, path.with_suffix(".qml")) if suffix in _GEOTIFF else beside  # QGIS's style


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Remove temporary files and folders that killed processes left beside outputs.

    Args:
        paths: Final names of the outputs. Files of a running process stay.
    """
    for path in paths:
        for left in path.parent.glob(f".{glob.escape(_short_stem(path))}.*.part*"):
            match = _TEMPORARY.fullmatch(left.name)
            if match is not None and not _is_running(int(match["pid"])):
                _remove(left)


def remove_temporary_files(folder: Path) -> None:
    """Remove all unfinished files from a folder in which no other process writes."""
    for path in folder.glob(".*.part*"):
        if _TEMPORARY.fullmatch(path.name):
            _remove(path)


def write_file(path: Path, content: str | bytes, *, sync: bool = True) -> None:
    """Write text (as UTF-8) or bytes atomically; see ``atomic``."""
    with atomic(path, sync=sync) as part:
        part.write_bytes(encoded(content) if isinstance(content, str) else content)


def to_json(content: Any, *, allow_nan: bool = True) -> str:
    """Give a report as JSON, without secrets."""
    return json.dumps(redacted(content), indent=2, ensure_ascii=False, allow_nan=allow_nan) + "\n"


def encoded(text: str) -> bytes:
    """Encode text as UTF-8; what cannot be, as bytes in the name of a file, is escaped as in JSON."""
    return text.encode("utf-8", ESCAPE)


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Write what cannot be encoded as JSON writes it, which other readers understand as well."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


ESCAPE = "geoseg.escape"
"""Name of the error handler for text that an encoding cannot express."""
codecs.register_error(ESCAPE, _escape)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a report as JSON atomically; see ``atomic``.

    Raises:
        RunError: If it cannot be written.
    """
    publish([stage_json(path, content)])


def stage_json(path: Path, content: Mapping[str, Any]) -> StagedFile:
    """Write a report as JSON under a temporary name.

    Raises:
        RunError: If it cannot be written.
    """
    file = StagedFile.beside(path)
    try:
        file.staged.write_bytes(encoded(to_json(content)))
    except OSError as error:
        discard([file])
        raise RunError(f"{path} cannot be written ({error}); is the disk full?") from error
    return file


def scratch_file(folder: Path | None = None) -> IO[bytes]:
    """Open a temporary file without a name, which the system removes when it is closed.

    Args:
        folder: Folder whose disk holds the file; None for the system's folder for temporary files.
    """
    file: Any = tempfile.TemporaryFile(dir=folder, prefix=".geoseg-", buffering=0)  # noqa: SIM115 - not closed here
    return _ScratchFile(file)


class _ScratchFile(io.BufferedRandom):
    """A file that nobody reads once it is closed, so that what is not written by then needs no room."""

    def close(self) -> None:
        """Close it, also on a disk that is full."""
        with suppress(OSError):
            super().close()


@contextmanager
def work_folder(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """Create a folder for unfinished work, and remove it afterwards, also if the run fails.

    Raises:
        OutputError: If the folder exists and ``overwrite`` is False.
    """
    if folder.exists():
        if not overwrite:
            raise OutputError(
                f"{folder} holds unfinished work: another run is writing there, or one was killed; "
                "--overwrite removes it"
            )
        shutil.rmtree(folder)
    ours = True
    try:  # begins before the folder is created, so that a signal in between leaves no folder
        try:
            folder.mkdir()
        except FileExistsError as error:
            ours = False
            raise OutputError(f"{folder}: another run has just begun to write there") from error
        yield folder
    finally:
        if ours:
            shutil.rmtree(folder, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder atomically: rename it first, so that its name never holds part of it."""
    gone = temporary_path(folder)
    with suppress(OSError):
        os.rename(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(FileNotFoundError):
        path.unlink()


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _is_running(pid: int) -> bool:
    """Tell whether a process of this machine is running."""
    import psutil

    return bool(psutil.pid_exists(pid))
