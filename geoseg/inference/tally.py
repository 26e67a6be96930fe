"""Count chips and busy seconds of blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import perf_counter
from typing import Any

COUNTS = ("chips", "chips_skipped", "retried", "lost_pixels", "lost_values")
STAGES = ("read", "forward", "stitch", "write")


@dataclass
class Tally:
    """Counts and busy seconds, summed over threads.

    Attributes:
        chips: Chips that went through the network.
        chips_skipped: Chips without a pixel to map.
        retried: Inferences that were run again because memory ran out.
        lost_pixels: Pixels of the map that are invalid although some of the model's bands have values there.
        lost_values: Values of bands that are missing at pixels of the map that are valid.
        read: Seconds spent reading and normalising.
        forward: Seconds spent in the network.
        stitch: Seconds spent blending.
        write: Seconds spent deciding, rendering and writing.
    """

    chips: int = 0
    chips_skipped: int = 0
    retried: int = 0
    lost_pixels: int = 0
    lost_values: int = 0
    read: float = 0.0
    forward: float = 0.0
    stitch: float = 0.0
    write: float = 0.0
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    @contextmanager
    def spend(self, stage: str) -> Iterator[None]:
        """Add the seconds until the context ends to those of a stage."""
        since = perf_counter()
        try:
            yield
        finally:
            with self._lock:
                setattr(self, stage, getattr(self, stage) + perf_counter() - since)

    def retry(self) -> None:
        """Count an inference that is run again."""
        with self._lock:
            self.retried += 1

    def lose(self, pixels: int, values: int) -> None:
        """Count pixels that are invalid because some bands lack them, and what bands lack at valid pixels."""
        with self._lock:
            self.lost_pixels += pixels
            self.lost_values += values

    def add(self, other: Tally) -> None:
        """Add another tally to this one."""
        for name in (*COUNTS, *STAGES):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def to_json(self) -> dict[str, float]:
        """Return the numbers by name."""
        return {name: getattr(self, name) for name in (*COUNTS, *STAGES)}

    @classmethod
    def from_json(cls, numbers: Mapping[str, Any]) -> Tally:
        """Read a tally that ``to_json`` returned."""
        return cls(**numbers)

    def seconds(self) -> dict[str, float]:
        """Return the busy seconds by stage."""
        return {stage: getattr(self, stage) for stage in STAGES}
