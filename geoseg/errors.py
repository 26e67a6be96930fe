"""Every error that geoseg raises on purpose.

One base class. A message is one line for the person who reads it: what is wrong, in which file, what to do.
The command line prints it and exits with the error's ``exit_code``.
"""

from __future__ import annotations

from typing import ClassVar


class GeosegError(Exception):
    """Base of all errors raised by geoseg; on its own it means that a run failed.

    Attributes:
        exit_code: What the command line exits with: 1 for a failed run, 2 for wrong input.
    """

    exit_code: ClassVar[int] = 1


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
