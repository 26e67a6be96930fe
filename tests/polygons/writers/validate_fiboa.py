"""Runs fiboa's own validator on a file without a network: ``python validate_fiboa.py FILE SCHEMAS PROJJSON``.

For a Python that has fiboa-cli, which cannot share an environment with geoseg's pyarrow. Published schemas are put
where the validator keeps what it has downloaded; anything else it would fetch is an error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import fiboa_cli.registry
import referencing
import yaml
from vecorel_cli.validate_schema import ValidateSchema
from vecorel_cli.vecorel import util

file, schemas, projjson = map(Path, sys.argv[1:])


def refuse(uri, **_):
    raise RuntimeError(f"no network in tests: {uri}")


def from_file(uri):
    if "projjson" not in uri:
        refuse(uri)
    return referencing.Resource.from_contents(json.loads(projjson.read_text()))


util.file_cache.update(
    {
        "https://fiboa.org/specification/v0.3.0/schema.yaml": yaml.safe_load(
            (schemas / "fiboa-v0.3.0.yaml").read_text()
        ),
        "https://vecorel.org/specification/v0.1.0/schema.yaml": yaml.safe_load(
            (schemas / "vecorel-v0.1.0.yaml").read_text()
        ),
        "https://geoparquet.org/releases/v1.1.0/schema.json": json.loads(
            (schemas / "geoparquet-v1.1.0.json").read_text()
        ),
    }
)
util.HTTPFileSystem = refuse
ValidateSchema.retrieve_remote_schema = staticmethod(from_file)

from fiboa_cli.validate import ValidateData  # noqa: E402 - registers the commands of fiboa, not Vecorel's

assert fiboa_cli.registry.Registry.project == "fiboa"
result = ValidateData().validate(file)
sys.stdout.write(
    json.dumps(
        {
            "valid": result.is_valid(),
            "errors": list(map(str, result.errors)),
            "warnings": list(map(str, result.warnings)),
        }
    )
)
