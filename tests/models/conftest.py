"""Tests of models use no network, and share a validator that knows the published schemas."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

SCHEMAS = Path(__file__).parents[1] / "schemas"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Whoever reaches for the network fails, and the hub's client knows that there is none."""

    def refuse(*arguments, **_):
        raise OSError(f"a test reached for the network: {arguments}")

    import huggingface_hub.constants

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="session")
def stac_validator():
    """The validator of pystac, its schemas from files."""
    from pystac.validation.stac_validator import JsonSchemaSTACValidator

    validator = JsonSchemaSTACValidator()
    for path in sorted(SCHEMAS.glob("*.json")):
        schema = json.loads(path.read_text())
        validator.schema_cache[schema["$id"].rstrip("#")] = schema
    return validator


@pytest.fixture(scope="session")
def validate(stac_validator):
    """Validate a STAC item against STAC 1.1.0 and every extension it lists."""
    from pystac.validation import validate_dict

    def validate(item):
        return validate_dict(item, validator=stac_validator)

    return validate
