"""The shape of the code: data flows one way, a class name means one thing, the pages that say so are true."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.tree import PAGE, STAGES, page_tree, tree

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "geoseg"
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
OUTSIDE = {"geoseg.__init__", "geoseg.__main__", "geoseg._version"}


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path):
    """Dotted names that a file imports, wherever in it: of modules, and of what it takes out of them."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports from geoseg in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(name):
    """The module among ours that an imported name is, or is in."""
    return next((found for found in (name, name.rpartition(".")[0]) if found in MODULES), None)


def test_every_module_belongs_to_a_stage():
    assert {name.split(".")[1] for name in set(MODULES) - OUTSIDE} == set(STAGES)


def test_a_stage_imports_only_stages_before_it():
    place = {stage: number for number, stage in enumerate(STAGES)}
    wrong = [
        f"{name} imports {other}"
        for name in set(MODULES) - OUTSIDE
        for other in imported(MODULES[name])
        if other.startswith("geoseg.") and place.get(other.split(".")[1], -1) > place[name.split(".")[1]]
    ]
    assert not wrong, "\n".join(sorted(wrong))


def test_no_file_needs_one_that_needs_it():
    """Not even for its types. What a folder's own ``__init__`` gathers is left out."""
    files = {name for name in MODULES if not name.endswith("__init__")}
    graph = {name: {module_of(other) for other in imported(MODULES[name])} & files for name in files}
    assert sum(map(len, graph.values())) > 500
    TopologicalSorter(graph).prepare()  # a CycleError names the files


def test_a_class_name_means_one_thing():
    counts = Counter(
        node.name
        for path in MODULES.values()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
    )
    assert sum(counts.values()) > 100
    repeated = {name for name, count in counts.items() if count > 1}
    assert not repeated


def test_the_architecture_page_shows_the_tree_on_disk():
    assert page_tree() == tree(), f"{PAGE} is stale: run `python -m tests.tree --write`"


def test_every_folder_and_file_says_what_it_is():
    without = [
        name
        for name, path in MODULES.items()
        if not re.match(r"\S.*[.?]$", (ast.get_docstring(parsed(path)) or "").partition("\n")[0])
    ]
    assert not without, "a module's docstring begins with one sentence on one line"


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_pages_give_the_order_of_stages(page):
    arrows = re.findall(r"`[a-z]+`(?:\s*→\s*`[a-z]+`)+", (ROOT / page).read_text(encoding="utf-8"))
    assert [tuple(re.findall("[a-z]+", chain)) for chain in arrows] == [STAGES]


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_pages_name_files_that_are_there(page):
    named = re.findall(
        r"`((?:geoseg|tests|docs|workflows|sample_tiles)/[\w./-]*)`", (ROOT / page).read_text("utf-8")
    )
    missing = [path for path in named if not (ROOT / path).exists()]
    assert named
    assert not missing


def test_the_architecture_page_says_where_things_are():
    named = re.findall(r"`(\w+)` in `(geoseg/[\w/]+\.py)`", PAGE.read_text("utf-8"))
    missing = [
        f"{name} in {path}"
        for name, path in named
        if not re.search(rf"^(def|class) {name}\b|^{name}\b", (ROOT / path).read_text("utf-8"), re.MULTILINE)
    ]
    assert len(named) > 10
    assert not missing


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
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        pytest.param(["mypy"], marks=[pytest.mark.e2e, pytest.mark.slow]),
    ],
    ids=" ".join,
)
def test_style_tools_are_clean(command):
    tool = Path(sys.executable).with_name(command[0])
    done = subprocess.run([tool, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
