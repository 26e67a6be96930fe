"""What a Dask worker does: it computes blocks and joins them, with files for everything that is large.

Tasks carry the address of a work order and the index of a block, and return next to nothing. The order
(scene, model, settings) is read once a process from the shared work folder, checked against the hash that
came with the task, and kept with the network that was loaded for it. Doing a task twice does no harm.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock

from geoseg._version import __version__
from geoseg.errors import RunError
from geoseg.execute.block_store import WorkStore, patiently
from geoseg.execute.finished import BlockRenderer
from geoseg.execute.part import finish_part, part_of
from geoseg.grid import Block, Grid
from geoseg.inference.compute import BlockComputer, Ingredients
from geoseg.inference.margins import BlockGraph, Index, Margin
from geoseg.inference.normalise import Normalisation
from geoseg.inference.stitcher import hand_on_margins
from geoseg.models import Model
from geoseg.plan.settings import Settings, make_backend
from geoseg.scene import Scene
from geoseg.scene.area import Area
from geoseg.system.allocator import keep_memory

_ORDER = "order"


@dataclass(frozen=True)
class Order:
    """All that is the same for every block of a run.

    Attributes:
        version: geoseg's.
        scene: The scene, its bands in the model's order, its files by absolute paths.
        model: The model, with its converted network where one runs.
        settings: The resolved settings.
        grid: The global chip grid.
        area: The area of interest, or None.
        renderer: Renders blocks.
        blocks: All blocks of the run.
    """

    version: str
    scene: Scene
    model: Model
    settings: Settings
    grid: Grid
    area: Area | None
    renderer: BlockRenderer
    blocks: tuple[Block, ...]

    def ingredients(self, forwards: int) -> Ingredients:
        """What blocks are computed of; loads the network."""
        card = self.model.card
        return Ingredients(
            source=self.scene,
            backend=make_backend(self.model, replace(self.settings, forwards=forwards)),
            grid=self.grid,
            normalisation=Normalisation(card.means, card.stds),
            classes=len(card.classes),
            area=None if self.area is None else self.area.mask,
        )


@dataclass(frozen=True)
class Address:
    """Where a worker finds its order.

    Attributes:
        folder: The work folder, an absolute path that all workers see.
        digest: SHA-256 of the order, hexadecimal.
    """

    folder: str
    digest: str


def post(order: Order, folder: Path) -> Address:
    """Leave an order in a work folder.

    Raises:
        RunError: If the disk is full.
    """
    content = pickle.dumps(order, protocol=pickle.HIGHEST_PROTOCOL)
    try:
        (folder / _ORDER).write_bytes(content)
    except OSError as error:
        raise RunError(f"{folder / _ORDER} cannot be written ({error}); is the disk full?") from error
    return Address(str(folder.resolve()), hashlib.sha256(content).hexdigest())


def fetch(address: Address) -> Order:
    """Read an order.

    Raises:
        RunError: If it is not there, or not the one that was posted.
    """
    path = Path(address.folder) / _ORDER
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(
            f"it does not see the work folder {address.folder} ({error.strerror}); outputs must lie where "
            "all workers can read and write under the same path"
        ) from error
    if hashlib.sha256(content).hexdigest() != address.digest:
        raise RunError(f"{path} is not the order of this run")
    order: Order = pickle.loads(content)  # noqa: S301 -- the hash came from the process that gave the task
    if order.version != __version__:
        raise RunError(f"it has geoseg {__version__}, not {order.version}; install the same everywhere")
    return order


class Bench:
    """A worker's place for one run: the order, and the network that was loaded for it."""

    def __init__(self, address: Address, forwards: int) -> None:
        keep_memory()
        # GDAL would keep up to a twentieth of the machine's memory in blocks that are never read again.
        os.environ.setdefault("GDAL_CACHEMAX", "256")
        self.order = fetch(address)
        self.graph = BlockGraph(self.order.blocks)
        self.store = WorkStore(Path(address.folder))
        self._forwards = forwards
        self._lock = Lock()
        self._computer: BlockComputer | None = None

    @property
    def computer(self) -> BlockComputer:
        """Computes blocks; the network is loaded when the first one comes."""
        with self._lock:
            if self._computer is None:
                self._computer = BlockComputer(self.order.ingredients(self._forwards), self._forwards)
            return self._computer

    def close(self) -> None:
        """End its threads."""
        if self._computer is not None:
            self._computer.close()

    def compute(self, index: Index) -> Outcome:
        """Compute a block, leave its margins, and all of it that is final."""
        computed = self.computer.compute(self.graph.blocks[index])
        takers = [place.taker for place in self.graph.given(index)]
        with computed.tally.spend("write"):
            hand_on_margins(computed, _OnDisk(self.store, takers))
        part = part_of(computed, self.graph.taken(index), self.order.renderer)
        if not self.store.has_finished(index):
            if part.strips:
                self.store.put_part(part)
            else:
                self.store.put_finished(part.rendered)
        return Outcome(index, is_finished=not part.strips, gives=computed.total is not None)

    def join(self, index: Index, givers: Sequence[Index]) -> None:
        """Complete a block, unless a worker that was lost since has done so.

        Args:
            index: The block; it is computed.
            givers: The blocks whose margins it gets; they are computed, too.

        Raises:
            RunError: If something it needs was lost.
        """
        store, places = self.store, self.graph.taken(index)
        if not store.has_finished(index):
            part = patiently(partial(store.part, index))
            wanted = [place for place in places if place.giver in givers]
            margins = [patiently(partial(store.margin, place)) for place in wanted]
            received = [margin for margin in margins if margin is not None]
            if part is None or len(received) < len(margins):
                raise RunError(
                    f"{store.folder}: what block {index} is made of was damaged; --resume computes it again"
                )
            store.put_finished(finish_part(part, received, self.order.renderer))
        store.drop_part(index)
        for place in places:
            store.drop_margin(place)


@dataclass(frozen=True)
class Outcome:
    """What became of a computed block.

    Attributes:
        index: The block's.
        is_finished: Whether it needs nothing of its neighbours.
        gives: Whether it had a chip to run, and so has left margins.
    """

    index: Index
    is_finished: bool
    gives: bool


@dataclass(frozen=True)
class _OnDisk:
    """Margins of which each is put where its taker will look for it."""

    store: WorkStore
    takers: Sequence[Index]

    def hand_on(self, margin: Margin) -> None:
        taker = margin.place.taker
        if taker in self.takers and not self.store.has_finished(taker):
            self.store.put_margin(margin)
