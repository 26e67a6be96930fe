"""Every error that geoseg raises on purpose.

One base class. A message is one line for the person who reads it: what is wrong, in which file, what to do.
The command line prints it and exits with the error's ``exit_code``.
"""

from __future__ import annotations

import errno
from typing import ClassVar

from geoseg.redaction import redacted


class GeosegError(Exception):
    """Base of all errors raised by geoseg; on its own it means that a run failed.

    Attributes:
        exit_code: What the command line exits with: 1 for a failed run, 2 for wrong input.
    """

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        return str(redacted(super().__str__()))


class RunError(GeosegError):
    """The command line and the inputs were fine, but the run failed (disk full, device lost ...)."""


class DamagedFileError(RunError):
    """A part of an input file cannot be read, which shows only while the run reads it."""

    exit_code: ClassVar[int] = 2


class InputError(GeosegError):
    """The command line or an input is wrong; nothing was written."""

    exit_code: ClassVar[int] = 2


class SettingsError(InputError):
    """A setting has a value that cannot work."""


class SceneError(InputError):
    """A scene cannot be opened, or does not hold what was asked of it."""


class ModelError(InputError):
    """A model package cannot be found, read, or built."""


class MismatchError(InputError):
    """A scene does not fit a model: running it would give a junk map."""


class OutputError(InputError):
    """An output cannot be written where it was asked for."""


class Interrupted(KeyboardInterrupt):
    """The user ended a run that can be gone on with; the message says how."""


# Messages of allocators other than Python's; torch, OpenVINO and ONNX Runtime raise RuntimeError with them.
_PHRASES = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate",
    "bad_alloc",
    "can't start new thread",
    "failed to map segment",  # of a library that is loaded
)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Tell whether an error, or one of its causes, means that memory ran out."""
    while error is not None:
        text = f"{type(error).__name__} {error}".lower()
        if isinstance(error, MemoryError) or any(phrase in text for phrase in _PHRASES):
            return True
        error = error.__cause__
    return False


def shortage(error: Exception) -> RunError | None:
    """Put an error of any library into words if it means that memory or a disk ran out; None if not."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return RunError(f"the disk is full ({text}); make room, or write elsewhere")
    if is_out_of_memory(error):
        return RunError(f"memory ran out ({text}); --max-memory plans for less, or close other programs")
    return None
