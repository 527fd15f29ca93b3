"""The statements' files: headed, read once, used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastq
from fastq.sql import SEGMENTS, names, over_segments, statement

pytestmark = pytest.mark.unit

PACKAGE = Path(fastq.__file__).parent
FOLDER = PACKAGE / "sql"


@pytest.mark.parametrize("name", names())
def test_headed(name: str) -> None:
    """Each file opens with its purpose, the locks it takes, the index it uses and its caller."""
    lines = (FOLDER / f"{name}.sql").read_text("utf-8").splitlines()
    header = "\n".join(line for line in lines[: next(i for i, t in enumerate(lines) if not t.startswith("--"))])
    assert len(header.splitlines()) >= 2
    for word in ("Locks: ", "Index: ", "Caller: "):
        assert word in header, f"{name}.sql does not say {word}"


@pytest.mark.parametrize("name", names())
def test_named_for_what_it_does(name: str) -> None:
    """verb_noun, perhaps with a guard; one statement; columns named."""
    text = statement(name)
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", name)
    assert ";" not in text
    assert not re.search(r"select \*|returning \*", text)


def headers() -> Iterator[tuple[Path, str]]:
    """Yield every statement of the package with its header."""
    for path in sorted(PACKAGE.rglob("sql/*.sql")):
        lines = path.read_text("utf-8").splitlines()
        yield path, " ".join(line.removeprefix("-- ") for line in lines if line.startswith("--"))


@pytest.mark.parametrize(("path", "header"), [pytest.param(*each, id=each[0].stem) for each in headers()])
def test_its_callers_are_those_that_the_header_names(path: Path, header: str) -> None:
    """A module that is not there, or no longer sends the statement, would send a reader the wrong way."""
    found = re.search(r"Caller: ([a-z_., ]+?)\.(?: |$)", header)
    assert found, f"{path} names no caller"
    named = {name.strip() for name in found[1].split(",")}
    code = PACKAGE / path.relative_to(PACKAGE).parts[0] if path.parent != FOLDER else PACKAGE
    callers = {
        ".".join(module.relative_to(PACKAGE).with_suffix("").parts)
        for module in code.rglob("*.py")
        if f'"{path.stem}"' in module.read_text("utf-8") and module.parent != FOLDER
    }
    assert named == callers if path.parent != FOLDER else named <= callers, (named, callers)


def test_each_is_used() -> None:
    """Every statement is named by some module."""
    code = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    assert [name for name in names() if f'"{name}"' not in code] == []


def test_statement() -> None:
    """Comments are left out, a segment is put in, and the text is read once."""
    text = statement("claim_jobs_if_worker_lives", 2)
    assert "--" not in text
    assert "fastq.ready_2" in text
    assert "{segment}" not in text
    assert statement("claim_jobs_if_worker_lives", 2) is text


def test_over_segments() -> None:
    """All segments in one statement."""
    text = over_segments("discover_lanes")
    assert text.count("union all\n(") == SEGMENTS - 1
    assert all(f"fastq.ready_{segment} " in text for segment in range(SEGMENTS))
