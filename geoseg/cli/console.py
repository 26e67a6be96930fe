"""Standard streams that take any text, show no secret, and survive a reader that is gone."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Any, TextIO

from geoseg.errors import RunError
from geoseg.files import ESCAPE
from geoseg.redaction import redacted


class Console(io.TextIOWrapper):
    """Standard output or standard error.

    What its encoding cannot express is escaped. A reader that is gone, as after ``| head``, does not end a
    run: its files are worth more than its words.
    """

    def __init__(self, stream: TextIO) -> None:
        self._below = stream  # a stream that nobody holds closes its file
        self._is_ascii = codecs.lookup(stream.encoding).name == "ascii"
        # Click replaces streams of ASCII by its own; ASCII that is escaped before is UTF-8 too.
        encoding = "utf-8" if self._is_ascii else stream.encoding
        super().__init__(stream.buffer, encoding, ESCAPE, line_buffering=True)

    def write(self, text: str) -> int:
        """Write text without the secrets in it."""
        if not isinstance(text, str):
            raise TypeError("write() argument must be str")  # by which click tells it from a binary stream
        shown: str = redacted(text)
        if self._is_ascii:
            shown = shown.encode("ascii", ESCAPE).decode("ascii")
        try:
            super().write(shown)
        except OSError as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Write to nowhere from now on; results that could not be written make the run fail."""
        number = self.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
        if number == 1 and not isinstance(error, BrokenPipeError):
            raise RunError(f"standard output cannot be written ({error.strerror})") from error


def open_console() -> None:
    """Make consoles of the standard streams; those that are closed lead nowhere.

    A file that is opened while one of them is closed would get its number, and all that libraries print.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = Console(sys.stdout or os.fdopen(1, "w"))
    sys.stderr = Console(sys.stderr or os.fdopen(2, "w"))
    sys.excepthook = sys.unraisablehook = _pass_over_undecodable


def _pass_over_undecodable(*raised: Any) -> None:
    """Show what nobody caught, but for words of GDAL that are not UTF-8.

    rasterio cannot log them, says so with a traceback, and goes on. It calls both hooks of ``sys``.
    """
    error = raised[1] if len(raised) > 1 else raised[0].exc_value
    if not isinstance(error, UnicodeDecodeError):
        (sys.__excepthook__ if len(raised) > 1 else sys.__unraisablehook__)(*raised)
