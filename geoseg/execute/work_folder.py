"""The folder beside the class map where a run's unfinished work lies until its outputs are published.

It appears complete with the run's fingerprint or not at all, is locked by the process that works in it, and
disappears in one step. What is left of a run that was cut short can be gone on with, if a block was finished.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import InputError, OutputError
from geoseg.execute.block_store import BlockStore, cannot_write
from geoseg.execute.fingerprint import Fingerprint, differences
from geoseg.files import encoded, remove_folder, remove_leftovers, temporary_path, to_json

_STATE, _LOCK, _SCRATCH, _PUBLISHING = "run.json", "lock", "scratch", "publishing"


@dataclass(frozen=True)
class WorkFolder:
    """A folder of unfinished work that is ours.

    Attributes:
        path: Where it is.
        may_replace: Whether files at the outputs' places are this run's to replace: it was told so, or it was
            cut short while it published them.
    """

    path: Path
    may_replace: bool

    @property
    def store(self) -> BlockStore:
        """The finished blocks."""
        return BlockStore(self.path)

    @property
    def scratch(self) -> Path:
        """For whatever begins anew when the run is resumed."""
        return self.path / _SCRATCH

    def begin_publishing(self) -> None:
        """Say that from now on files may appear at the outputs' places."""
        (self.path / _PUBLISHING).touch()


def read_fingerprint(path: Path) -> Fingerprint | None:
    """Read the fingerprint of the work in a folder; None if there is none."""
    state = _read_state(path)
    return None if state is None else state["fingerprint"]


@contextmanager
def open_work_folder(
    path: Path, fingerprint: Fingerprint, *, resume: bool, overwrite: bool
) -> Iterator[WorkFolder]:
    """Make the folder for unfinished work, or go on in the one that is there.

    It is gone afterwards if the run was completed, if no block was finished, or if the input was wrong and
    the folder was made for this run.

    Args:
        path: The folder.
        fingerprint: Of this run.
        resume: Whether to go on with what is there.
        overwrite: Whether what is there, and the outputs, may be replaced.

    Raises:
        OutputError: If there is work already and nobody said what to do with it, it is another run's, or
            another process is busy with it.
    """
    remove_leftovers([path])
    with ExitStack() as locks:
        if path.exists():
            _lock(path, locks)
            if _read_state(path) is None or (overwrite and not resume):
                _check_asked(path, resume=resume, overwrite=overwrite)
                remove_folder(path)
        is_new = not path.exists()
        if is_new:
            _make(path, fingerprint, locks, may_replace=overwrite)
        may_replace = overwrite if is_new else _check_same(path, fingerprint, resume=resume)
        yield from _working(WorkFolder(path, may_replace), is_new=is_new)


def _working(folder: WorkFolder, *, is_new: bool) -> Iterator[WorkFolder]:
    """Hand out the folder and see afterwards what of it is worth keeping."""
    keep = True
    try:
        shutil.rmtree(folder.scratch, ignore_errors=True)
        folder.scratch.mkdir()
        folder.store.make()
        yield folder
        keep = False
    except InputError:
        keep = not is_new
        raise
    finally:
        if keep and any(folder.store.indices()):
            shutil.rmtree(folder.scratch, ignore_errors=True)
        else:
            remove_folder(folder.path)


def _check_asked(path: Path, *, resume: bool, overwrite: bool) -> None:
    if not resume and not overwrite:
        raise OutputError(
            f"{path} holds unfinished work of a run that was cut short; --resume goes on with it, "
            "--overwrite removes it"
        )


def _check_same(path: Path, fingerprint: Fingerprint, *, resume: bool) -> bool:
    """Refuse to go on with other work than this run's; returns whether outputs may be replaced."""
    _check_asked(path, resume=resume, overwrite=False)
    state = _read_state(path)
    assert state is not None  # otherwise the folder was removed
    found = differences(state["fingerprint"], fingerprint)
    if found:
        raise OutputError(
            f"{path} holds unfinished work of another run ({'; '.join(found)}); run as it was begun to go "
            "on, or give --overwrite instead of --resume to begin anew"
        )
    return bool(state["may_replace"]) or (path / _PUBLISHING).exists()


def _read_state(path: Path) -> dict[str, Any] | None:
    try:
        state = json.loads((path / _STATE).read_bytes())
    except (OSError, ValueError):
        return None
    is_ours = (
        isinstance(state, dict) and isinstance(state.get("fingerprint"), dict) and "may_replace" in state
    )
    return state if is_ours else None


def _make(path: Path, fingerprint: Fingerprint, locks: ExitStack, *, may_replace: bool) -> None:
    """Make the folder with all that says whose it is, under another name first, and lock it."""
    beside = temporary_path(path)
    try:
        beside.mkdir()
        state = {"fingerprint": dict(fingerprint), "may_replace": may_replace}
        (beside / _STATE).write_bytes(encoded(to_json(state)))
        _lock(beside, locks)
        os.rename(beside, path)
    except OSError as error:
        if path.exists():
            raise OutputError(f"{path}: another run has just begun to write there") from error
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _lock(path: Path, locks: ExitStack) -> None:
    """Lock a folder until ``locks`` are closed or the process ends, where the system can.

    Raises:
        OutputError: If another process has locked it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return
    lock = os.open(path / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    locks.callback(os.close, lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(f"{path}: another run is writing there; wait for it, or stop it first") from error
    except OSError:  # a file system without locks
        return
