"""What Dask's scheduler itself takes: the tasks of a run, with nothing to do, on a real scheduler.

    python workflows/scale/scheduler.py [--blocks 1250 2500 5000 10000] [--ahead 600]

The tasks have the dependencies that ``geoseg predict --workers`` gives them, submitted in row order a bounded
number ahead. Scheduler, worker and client share one process, so what is measured is all that they take
together, seconds a block, and what the process grows by.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from schedule import shape_of


def compute(block: int) -> int:
    """Nothing."""
    return block


def join(block: int, *_before: int) -> int:
    """Nothing, after its neighbours."""
    return block


def drive(client: Any, blocks: int, ahead: int) -> None:
    """Run the tasks of a scene."""
    _, cols = shape_of(blocks)
    computes: dict[int, object] = {}
    joins: dict[int, object] = {}

    def submit(block: int) -> None:
        row, col = divmod(block, cols)
        computes[block] = client.submit(compute, block, key=f"compute-{blocks}-{block}", priority=-block)
        left, up = col > 0, row > 0
        before = [block - step for there, step in ((left, 1), (up, cols), (left and up, cols + 1)) if there]
        given = [computes[other] for other in (block, *before)]
        joins[block] = client.submit(join, block, *given, key=f"join-{blocks}-{block}", priority=-block)

    for block in range(min(ahead, blocks)):
        submit(block)
    for block in range(blocks):
        assert joins.pop(block).result() == block
        computes.pop(block - cols - 1, None)  # nobody waits for it any more
        if block + ahead < blocks:
            submit(block + ahead)


def main() -> None:
    """Drive the scheduler with more and more blocks."""
    import psutil
    from distributed import Client, LocalCluster

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, nargs="+", default=[1250, 2500, 5000, 10_000])
    parser.add_argument("--ahead", type=int, default=600)
    given = parser.parse_args()
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        drive(client, 100, given.ahead)  # imports, connections
        print("| blocks | ms a block | CPU ms a block | resident MB |\n|---|---|---|---|")
        for blocks in given.blocks:
            wall, cpu = perf_counter(), process_time()
            drive(client, blocks, given.ahead)
            wall, cpu = (perf_counter() - wall) / blocks, (process_time() - cpu) / blocks
            resident = psutil.Process().memory_info().rss / 1e6
            print(f"| {blocks:,} | {wall * 1e3:.2f} | {cpu * 1e3:.2f} | {resident:.0f} |", flush=True)


if __name__ == "__main__":
    main()
