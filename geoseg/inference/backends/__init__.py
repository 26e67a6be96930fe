"""Backends, which run a network: one protocol, one module per runtime.

To add a backend, write its class and its ``KIND`` in a file beside these, as ``protocol`` says, and add one
line to ``BACKENDS``. The command line, plans, ``geoseg env`` and the tests that every backend passes know it
from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geoseg.inference.backends.protocol import BackendKind

# Names of modules, so that the command line imports none of them, and a run only the one that it needs.
BACKENDS: Mapping[str, str] = {
    "torch": "torch_",
    "openvino": "openvino_",
    "onnx": "onnx_",
}
"""Module of each backend, by its name for ``--backend``."""


def backend_kind(name: str) -> BackendKind:
    """Return what is known of a backend before it is created: the ``KIND`` of its module.

    Args:
        name: A key of ``BACKENDS``.
    """
    kind: BackendKind = import_module(f"{__name__}.{BACKENDS[name]}").KIND
    return kind
