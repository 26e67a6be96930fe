"""Files that appear complete under their names or not at all, and folders for what is unfinished."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import OutputError


@dataclass(frozen=True)
class StagedFile:
    """A complete file under a temporary name, waiting for all others of its run.

    Attributes:
        staged: Where it is.
        final: What it will be called.
    """

    staged: Path
    final: Path


def discard(files: Iterable[StagedFile]) -> None:
    """Remove files that will not be published."""
    for file in files:
        file.staged.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Whether a process of this machine is running."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True


@contextmanager
def work_folder(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """Make the folder for unfinished work; it is gone afterwards, however the run ends.

    Raises:
        OutputError: If it exists already: another run is writing there, or one was killed.
    """
    if folder.exists():
        if not overwrite:
            raise OutputError(
                f"{folder} holds unfinished work: another run is writing there, or one was killed; "
                "--overwrite removes it"
            )
        shutil.rmtree(folder)
    ours = True
    try:  # before the folder is made, so that no signal comes in between
        try:
            folder.mkdir()
        except FileExistsError as error:
            ours = False
            raise OutputError(f"{folder}: another run has just begun to write there") from error
        yield folder
    finally:
        if ours:
            shutil.rmtree(folder, ignore_errors=True)
