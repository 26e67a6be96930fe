"""Running averages of a network's weights, which score better and more steadily than the last step's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

SWA_FROM = 0.75
"""Share of the steps after which "swa" begins to average."""


class AveragedWeights:
    """A running average of a network's parameters and buffers.

    "ema": exponential, with a short memory in the first steps: decay = min(decay, (1 + n) / (10 + n)).
    "swa": the plain mean over the steps of the last quarter (Izmailov et al. 2018); batch statistics are
    averaged like weights, not computed again.

    Args:
        network: The network.
        method: "ema" or "swa".
        decay: Largest decay of "ema".
    """

    def __init__(self, network: nn.Module, method: str, decay: float) -> None:
        self.method, self.decay, self.updates = method, decay, 0
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def update(self, network: nn.Module, done: float) -> None:
        """Add the weights after a step to the average.

        Args:
            network: The network.
            done: Share of the run's steps that are done, 0-1.
        """
        share = self._share(done)
        newest = network.state_dict()
        floats = [name for name, value in newest.items() if value.is_floating_point() and share < 1]
        if floats:  # all at once: a GPU would wait for hundreds of small calls
            average = get_ema_multi_avg_fn(1 - share)
            average([self.state[name] for name in floats], [newest[name] for name in floats], None)
        for name in newest.keys() - set(floats):
            self.state[name].copy_(newest[name])

    def _share(self, done: float) -> float:
        """Compute the weight of the newest weights in the average."""
        if self.method == "swa" and done < SWA_FROM:
            return 1.0
        self.updates += 1
        if self.method == "swa":
            return 1 / self.updates
        return 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))

    @contextmanager
    def applied(self, network: nn.Module) -> Iterator[None]:
        """Put the averages into the network, and restore its own weights afterwards."""
        own: dict[str, Tensor] = {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict(self.state)
        try:
            yield
        finally:
            network.load_state_dict(own)

    def state_dict(self) -> dict[str, object]:
        """Return the state for a checkpoint."""
        return {"updates": self.updates, "state": self.state}

    def load_state_dict(self, saved: dict[str, object]) -> None:
        """Continue from a checkpoint."""
        self.updates = int(saved["updates"])  # type: ignore[call-overload]
        for name, value in saved["state"].items():  # type: ignore[attr-defined]
            self.state[name].copy_(value)
