"""What Dask workers that geoseg starts do first: Dask imports this module and calls ``dask_setup``."""

from __future__ import annotations

import signal
from typing import Any

from geoseg.system.memory import keep_memory


def dask_setup(_worker: Any) -> None:
    """Keep memory between blocks, and leave Ctrl-C, which a terminal sends to all, to who started the run."""
    keep_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
