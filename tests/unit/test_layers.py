"""Imports go down only, and what forks stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastq

pytestmark = pytest.mark.unit

PACKAGE = Path(fastq.__file__).parent

LAYERS: list[set[str]] = [
    {"errors", "states"},
    {"config", "backoff", "flow", "telling", "codec", "host", "cron"},
    {"job", "job_ids", "ends", "arguments", "batch_item"},
    {"terminal"},
    {"sql", "observability", "embedded"},
    {"schema"},
    {"postgres"},
    {"protocol"},
    {"insights"},
    {"client", "producer", "jobs", "schedules"},
    {"context", "task", "app"},
    {"worker", "steward", "supervisor"},
    {"demo", "bench", "dashboard", "top", "testing"},
    {"django", "integrations"},
    {"cli"},
]
SIBLINGS = {"worker", "steward", "supervisor"}


def part_of(path: Path) -> str:
    """Return the first name below the package."""
    inside = path.relative_to(PACKAGE)
    return inside.parts[0].removesuffix(".py") if inside.name != "__init__.py" or len(inside.parts) > 1 else ""


def imports(path: Path, *, lazy: bool = True) -> Iterator[str]:
    """Yield the parts of fastq that a file imports, not counting those for types only; `lazy`: also in functions."""
    tree = ast.parse(path.read_text("utf-8"))
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        or (not lazy and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "fastq":
            names = node.module.split(".")[1:2] or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name.split(".")[1] for a in node.names if a.name.startswith("fastq.")]
        else:
            continue
        yield from (name for name in names if not name.startswith("_"))


FILES = sorted(path for path in PACKAGE.rglob("*.py") if part_of(path))


def test_every_part_has_a_layer() -> None:
    """A new part of the package is given its place here."""
    known = set().union(*LAYERS)
    assert {part_of(path) for path in FILES} - known - {"__main__"} == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    """A file imports from its own part and from layers below, and parts of one layer as far as they need no circle."""
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    mine = part_of(path)
    if mine == "__main__":
        return
    up = {name for name in imports(path) if name in level and level[name] > level[mine]}
    assert up == set()
    if mine in SIBLINGS:
        assert set(imports(path)) & (SIBLINGS - {mine}) == set()


def test_no_circles() -> None:
    """Between the parts, imports at module level have no circle."""
    graph: dict[str, set[str]] = {}
    for path in FILES:
        graph.setdefault(part_of(path), set()).update(set(imports(path, lazy=False)) - {part_of(path)})
    done: set[str] = set()

    def walk(part: str, above: tuple[str, ...]) -> None:
        assert part not in above, " → ".join((*above, part))
        if part not in done:
            for below in graph.get(part, ()):
                walk(below, (*above, part))
            done.add(part)

    for part in graph:
        walk(part, ())


@pytest.mark.parametrize("path", [p for p in FILES if part_of(p) != "cli"], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_what_the_protocol_knows(path: Path) -> None:
    """The words do no I/O, and the protocol knows no tasks, processes or event loops."""
    tree = ast.parse(path.read_text("utf-8"))
    named = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    named |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    if part_of(path) in {"errors", "states", "job", "config", "backoff", "codec", "ends", "flow"}:
        assert not named & {"psycopg", "psycopg_pool", "asyncio", "uvloop", "socket", "subprocess"}
    if part_of(path) == "protocol":
        assert not named & {"asyncio", "uvloop", "multiprocessing", "subprocess", "click"}


@pytest.mark.parametrize("module", ["fastq.supervisor", "fastq.cli.worker", "fastq.cli.main"])
def test_what_forks_stays_light(module: str) -> None:
    """The process that forks has neither a database driver nor an event loop in it."""
    code = f"import sys, {module}; print('\\n'.join(sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert module in loaded
    assert not loaded & {
        "psycopg",
        "psycopg_pool",
        "uvloop",
        "fastq.app",
        "fastq.protocol",
        "fastq.worker",
        "fastq.steward",
    }
