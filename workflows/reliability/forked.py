"""Commands of geoseg in forked processes: nothing is imported again, and what one does harms no other."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path


def warm_up() -> None:
    """Import here, once, what the forked processes need."""
    import geoseg.execute.run
    import geoseg.inference.backends.torch_
    import geoseg.polygons.writers
    import geoseg.training.label_check.check
    import geoseg.verbs.evaluate
    import geoseg.verbs.polygonize  # noqa: F401


def start(command: list[str], folder: Path, said: Path, limit: Callable[[], None] = lambda: None) -> int:
    """Run ``geoseg COMMAND`` in a folder; returns its process id at once.

    Args:
        command: Its words.
        folder: Where it runs.
        said: Gets what it writes to stdout and stderr.
        limit: Called in the new process before the command, to set limits.
    """
    said.write_bytes(b"")
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        os.chdir(folder)
        out = os.open(said, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        for number, stream in ((0, os.open(os.devnull, os.O_RDONLY)), (1, out), (2, out)):
            os.dup2(stream, number)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        from geoseg import cli

        limit()
        # A shell starts what it runs in the background without this handler, and Python leaves it so.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        cli.main(command)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def end(child: int, seconds: float) -> int | None:
    """Wait for the end of a process: its exit code, minus the signal that ended it, or None if it hung."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.004)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def address_space() -> int:
    """Bytes of address space that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
