"""The ONNX Runtime backend: fp32 on a CPU, small to install; needs no torch.

An inference runs on the calling thread alone. With the shape and the thread count fixed, a network gives the
same bits whatever the number of concurrent inferences.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ModelError
from geoseg.inference.backends.protocol import BackendKind, BackendSettings
from geoseg.models.conversion import CHIPS, OUTPUT, ConvertedNetwork, further_inputs
from geoseg.models.onnx_file import read_metadata
from geoseg.models.sources import ONNX
from geoseg.system.cpu import cores

_ERRORS_ONLY = 3


@dataclass(frozen=True)
class OnnxBackend:
    """Run a converted network; see ``Backend``.

    Attributes:
        network: Chips to probabilities, for chips of one shape, as ONNX.
        concurrency: Inferences worth having in flight; default one a core.
        temperature: Divides the logits before the softmax.

    Raises:
        ModelError: If ONNX Runtime cannot run the network.
    """

    network: ConvertedNetwork
    concurrency: int = field(default_factory=cores)
    temperature: float = 1.0
    precision: str = "fp32"
    device: str = "cpu"
    name: str = "onnx"
    _session: Any = field(init=False, repr=False)
    _inputs: dict[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_session", self._start())
        takes = {value.name for value in self._session.get_inputs()}
        object.__setattr__(self, "_inputs", further_inputs(takes, self.temperature))

    @property
    def batch_size(self) -> int:
        """Chips in a batch, as the network was converted."""
        return self.network.shape.batch

    def prepare_thread(self) -> None:
        """Do nothing: a session may be used from several threads."""

    def probabilities(self, chips: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network on one batch; shapes as in ``Backend.probabilities``."""
        result: NDArray[np.float32] = self._session.run([OUTPUT], {CHIPS: chips, **self._inputs})[0]
        return result

    def _start(self) -> Any:
        read_metadata(self.network.graph, "the converted network")
        import onnxruntime

        onnxruntime.disable_telemetry_events()  # only the builds for Windows send any
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _ERRORS_ONLY
        try:
            session = onnxruntime.InferenceSession(
                self.network.graph, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors have no other common base class
            reason = str(error).strip().splitlines()[0][:200]
            raise ModelError(
                f"ONNX Runtime cannot run this network ({reason}); use --backend torch"
            ) from error
        shape = tuple(session.get_inputs()[0].shape)
        if shape != self.network.shape.dimensions:
            listed = self.network.shape.dimensions
            raise ModelError(f"the converted network takes chips of {shape}, not {listed} as listed")
        return session


def _make(network: ConvertedNetwork, settings: BackendSettings) -> OnnxBackend:
    return OnnxBackend(network, concurrency=settings.concurrency, temperature=settings.temperature)


def _providers(onnxruntime: Any) -> dict[str, Any]:
    return {"providers": list(onnxruntime.get_available_providers())}


KIND = BackendKind(
    name="onnx",
    title="ONNX Runtime",
    package="onnxruntime",
    install='pip install "geoseg[onnx]"',
    devices=("cpu",),
    planes={"fp32": 197},
    loaded=330_000_000,
    make=_make,
    formats=(ONNX,),
    describe=_providers,
)
