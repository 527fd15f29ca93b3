"""Databases whose encoding cannot hold every character are refused before anything is written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import conninfo

import fastq

pytestmark = pytest.mark.e2e

SENTENCE = "has the encoding {}, and jobs need UTF8; nothing was written: use a database made by"


@pytest.fixture(params=["LATIN1", "SQL_ASCII"])
def encoding(request: pytest.FixtureRequest) -> str:
    """Give an encoding that databases have."""
    return str(request.param)


@pytest.fixture
def narrow(server: str, encoding: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the DSN of a database of that encoding."""
    name = f"narrow_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(
            f"create database {name} template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'".encode()
        )
        value = conninfo.make_conninfo(server, dbname=name)
        monkeypatch.setenv("FASTQ_DSN", value)
        try:
            yield value
        finally:
            conn.execute(f"drop database {name} with (force)".encode())


@pytest.mark.parametrize("command", [("migrate",), ("migrate", "--check"), ("worker", "narrow:app"), ("status",)])
def test_commands_refuse_it(narrow: str, encoding: str, tmp_path: Path, command: tuple[str, ...]) -> None:
    """With one sentence, and exit code 4; there is no schema afterwards, nor half of one."""
    (tmp_path / "narrow.py").write_text("import fastq\napp = fastq.App()\n")
    done = subprocess.run(
        [sys.executable, "-m", "fastq", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4, done.stderr
    assert SENTENCE.format(encoding) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    with psycopg.connect(narrow) as conn:
        assert conn.execute("select to_regnamespace('fastq')").fetchone() == (None,)


async def test_apps_refuse_it(narrow: str, encoding: str) -> None:
    """When they are opened."""
    app = fastq.App(narrow)
    with pytest.raises(fastq.SchemaError, match=SENTENCE.format(encoding)):
        app.__enter__()
    with pytest.raises(fastq.SchemaError, match=SENTENCE.format(encoding)):
        await app.__aenter__()
