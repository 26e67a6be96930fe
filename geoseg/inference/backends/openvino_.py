"""The OpenVINO backend: the fastest on a CPU, in fp32, bf16 or int8; needs no torch.

There are as many streams as concurrent inferences, each of one thread. With the shape and the thread count
fixed, a network gives the same bits whatever the number of streams.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ModelError, SettingsError
from geoseg.inference.backends.protocol import BackendKind, BackendSettings
from geoseg.models.conversion import CHIPS, OUTPUT, ConvertedNetwork, further_inputs
from geoseg.models.openvino_ir import import_openvino, read_network, resized
from geoseg.models.sources import ONNX, OPENVINO
from geoseg.system.cpu import cores

# int8 networks compute their other layers in fp32: the same on all machines, and faster than bf16.
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


@dataclass(frozen=True)
class OpenVinoBackend:
    """Run a converted network; see ``Backend``.

    Attributes:
        network: Chips to probabilities, for chips of one shape.
        precision: ``"fp32"``, ``"bf16"`` or, of a quantized network, ``"int8"``.
        concurrency: Inferences in flight that it makes room for; default one a core.
        temperature: Divides the logits before the softmax.

    Raises:
        ModelError: If OpenVINO cannot run the network.
        SettingsError: If this processor does not compute in the precision.
    """

    network: ConvertedNetwork
    precision: str = "fp32"
    concurrency: int = field(default_factory=cores)
    temperature: float = 1.0
    device: str = "cpu"
    name: str = "openvino"
    _compiled: Any = field(init=False, repr=False)
    _tensor: Any = field(init=False, repr=False)
    _shape: tuple[int, ...] = field(init=False, repr=False)
    _inputs: dict[str, Any] = field(init=False, repr=False)
    _local: threading.local = field(init=False, repr=False, default_factory=threading.local)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", self._compile())
        takes = set().union(*(value.names for value in self._compiled.inputs))
        object.__setattr__(self, "_inputs", further_inputs(takes, self.temperature))
        object.__setattr__(self, "_tensor", import_openvino().Tensor)
        object.__setattr__(self, "_shape", tuple(self._compiled.output(OUTPUT).shape))
        # The bindings import numpy when they first see an array. Two threads that do so at once can deadlock,
        # one with the GIL, the other with the lock of the bindings. So do it here.
        self._as_tensor(np.zeros(1, np.float32))

    @property
    def batch_size(self) -> int:
        """Chips in a batch, as the network was converted."""
        return self.network.shape.batch

    def prepare_thread(self) -> None:
        """Create a request for this thread; its inferences run on one thread of OpenVINO."""
        self._local.request = self._compiled.create_infer_request()

    def probabilities(self, chips: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network on one batch; shapes as in ``Backend.probabilities``."""
        if not hasattr(self._local, "request"):
            self.prepare_thread()
        given = {CHIPS: chips, **self._inputs}
        result = np.empty(self._shape, np.float32)
        # OpenVINO writes into this array; an array of its own would have to be copied.
        self._local.request.set_tensor(OUTPUT, self._as_tensor(result))
        self._local.request.infer(given, share_inputs=True, share_outputs=True)
        return result

    def _as_tensor(self, array: NDArray[np.float32]) -> Any:
        return self._tensor(array, shared_memory=True)

    def _compile(self) -> Any:
        openvino = import_openvino()
        core = openvino.Core()
        if self.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise SettingsError(
                "--precision bf16: OpenVINO cannot compute in bf16 on this processor; use fp32"
            )
        options = {
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
            "INFERENCE_NUM_THREADS": self.concurrency,
            "NUM_STREAMS": self.concurrency,
            # Otherwise it limits streams to one per core, also where a core runs two threads.
            "ENABLE_HYPER_THREADING": True,
            # Streams bound to cores would crowd together when several runs share a machine.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            return core.compile_model(read_network(self.network), "CPU", options)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1][:200]
            raise ModelError(f"OpenVINO cannot run this network ({reason}); use --backend torch") from error


def _make(network: ConvertedNetwork, settings: BackendSettings) -> OpenVinoBackend:
    return OpenVinoBackend(
        network,
        precision=settings.precision,
        concurrency=settings.concurrency,
        temperature=settings.temperature,
    )


def _plugins(openvino: Any) -> dict[str, Any]:
    return {"plugins": list(openvino.Core().available_devices)}


KIND = BackendKind(
    name="openvino",
    title="OpenVINO",
    package="openvino",
    install='pip install "geoseg[openvino]"',
    devices=("cpu",),
    planes={"fp32": 135, "bf16": 88, "int8": 62},
    loaded=330_000_000,
    make=_make,
    formats=(OPENVINO, ONNX),
    resize=resized,
    describe=_plugins,
)
