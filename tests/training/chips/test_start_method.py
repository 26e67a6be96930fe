"""How the processes that read chips start."""

import sys
from types import ModuleType

import pytest

from geoseg.training.chips.loading import _start_method


@pytest.mark.skipif(sys.platform != "linux", reason="where processes cannot be forked they are spawned")
@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime", "nncf"])
def test_readers_are_not_forked_from_a_process_with_a_runtime(monkeypatch, runtime):
    for name in ("openvino", "onnxruntime", "nncf"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert _start_method() == "fork"
    monkeypatch.setitem(sys.modules, runtime, ModuleType(runtime))
    assert _start_method() == "forkserver"
