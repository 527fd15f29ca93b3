"""The statements' files: headed, read once, used."""

from __future__ import annotations

import re
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
