"""The shape of the house: data flows one way, the style tools are clean."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "geoseg"
STAGES = (
    "errors",
    "grid",
    "progress",
    "units",
    "classes",
    "files",
    "system",
    "raster",
    "scene",
    "labels",
    "models",
    "inference",
    "doctor",
    "maps",
    "refine",
    "polygons",
    "assess",
    "plan",
    "execute",
    "training",
    "verbs",
    "cli",
)
MODULES = sorted(PACKAGE.rglob("*.py"))


def stage(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "geoseg" and parts[1] in STAGES else None


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_stage_imports_only_stages_above_it(path):
    own = stage(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if own is None:
        return
    for module in imports(path):
        other = stage(module)
        assert other is None or STAGES.index(other) <= STAGES.index(own), f"{own} imports {module}"


def test_no_file_needs_one_that_needs_it():
    """Not even for its types. What a folder's own ``__init__`` gathers is left out."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in MODULES}
    files = {name: path for name, path in names.items() if path.stem != "__init__"}
    graph = {
        name: {module for found in imports(path) for module in (found, found.rpartition(".")[0])} & set(files)
        for name, path in files.items()
    }
    assert sum(map(len, graph.values())) > 500
    TopologicalSorter(graph).prepare()  # a CycleError names the files


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, geoseg; print([m for m in ('torch', 'numpy', 'rasterio', 'geopandas', 'dask') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_api_is_there_and_documented():
    import geoseg

    for name in geoseg.__all__:
        assert getattr(geoseg, name) is not None
        assert name.startswith("__") or getattr(geoseg, name).__doc__, name


@pytest.mark.parametrize(
    "command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]], ids=" ".join
)
def test_style_tools_are_clean(command):
    tool = Path(sys.executable).with_name(command[0])
    done = subprocess.run([tool, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
