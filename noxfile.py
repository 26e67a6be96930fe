"""What developers run: ``nox -s quick`` while working, ``nox -s lint test`` before a commit; see ``nox -l``.

Sessions run in the environment that nox itself is installed in; none is made for them.
"""

from __future__ import annotations

import sys

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "quick"]


@nox.session
def quick(session: nox.Session) -> None:
    """Run the tests without whole commands. ``nox -s quick -- tests/scene`` for one stage."""
    session.run(sys.executable, "-m", "pytest", "-q", "-m", "not e2e", *session.posargs)


@nox.session
def test(session: nox.Session) -> None:
    """Run all tests that can run here."""
    session.run(sys.executable, "-m", "pytest", "-q", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and types; ``nox -s lint -- --fix`` repairs the style first."""
    fix = "--fix" in session.posargs
    session.run(sys.executable, "-m", "ruff", "check", *(["--fix"] if fix else []), ".")
    session.run(sys.executable, "-m", "ruff", "format", *([] if fix else ["--check"]), ".")
    session.run(sys.executable, "-m", "mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Bring the tree in docs/architecture.md up to date."""
    session.run(sys.executable, "-m", "tests.tree", "--write")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the speed of predict and polygonize; ``-- --rounds 1`` goes to both scripts."""
    for script in ("floor", "polygonize"):
        session.run(sys.executable, f"tests/benchmarks/{script}.py", *session.posargs)
