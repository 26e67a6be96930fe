"""The tree of ``docs/architecture.md``: every folder and file of geoseg with the headline of its docstring.

python -m tests.tree            # print it
python -m tests.tree --write    # bring the page up to date
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
STAGES = (
    "redaction",
    "errors",
    "grid",
    "progress",
    "omissions",
    "units",
    "names",
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
_MARKED = re.compile(r"(<!-- tree -->\n```text\n)(.*?)(```\n)", re.DOTALL)


def tree() -> str:
    """The tree on disk, stages in their order, then everything by name."""
    return "".join(f"{line}\n" for line in _lines(ROOT / "geoseg", ""))


def page_tree() -> str:
    """The tree on the page."""
    found = _MARKED.search(PAGE.read_text(encoding="utf-8"))
    return "" if found is None else found[2]


def _lines(folder: Path, indent: str):
    for path in sorted(folder.iterdir(), key=_place):
        own = path / "__init__.py" if path.is_dir() else path
        if not own.exists() or path.suffix not in ("", ".py") or path.name == "__init__.py":
            continue  # bundled weights and caches are no code
        name = f"{indent}{path.name}/" if path.is_dir() else f"{indent}{path.name}"
        headline = (ast.get_docstring(ast.parse(own.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        yield f"{name:<32}{headline.removesuffix('.')}".rstrip()
        if path.is_dir():
            yield from _lines(path, indent + "  ")


def _place(path: Path) -> tuple[int, bool, str]:
    """Stages in their order; in a stage its files before its folders."""
    if path.parent.name == "geoseg" and path.stem in STAGES:
        return STAGES.index(path.stem), False, ""
    return len(STAGES), path.is_dir(), path.name


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(
            _MARKED.sub(lambda found: found[1] + tree() + found[3], PAGE.read_text("utf-8")), "utf-8"
        )
    else:
        sys.stdout.write(tree())
