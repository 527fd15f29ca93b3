"""docs/operations.md says what the code does: log lines, SQL, commands, metrics, exit codes; docs/architecture.md names
files that are there."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

import fastq
from fastq.host.board import Board, Word
from fastq.observability.exposition import exposition
from fastq.observability.totals import Totals
from fastq.states import CellState, ExitCode

pytestmark = pytest.mark.e2e

TOP = Path(__file__).parents[2]
PACKAGE = Path(fastq.__file__).parent
PAGE = (TOP / "docs" / "operations.md").read_text()
ARCHITECTURE = (TOP / "docs" / "architecture.md").read_text()
Db = psycopg.Connection[Any]


def blocks(kind: str) -> list[str]:
    """Return the page's fenced blocks of one kind, without their indentation."""
    return [text for _, text in re.findall(rf"^( *)```{kind}\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)]


def logged() -> list[re.Pattern[str]]:
    """Return a pattern for the first line of everything that the code can log and that has words of its own."""
    levels = {"debug", "info", "warning", "error", "exception"}
    formats = [
        str(node.args[0].value).partition("\n")[0]
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in levels
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ]
    return [
        re.compile(".*".join(map(re.escape, re.split(r"%(?:\.\d)?[sdrf]", text))) + r"\Z")
        for text in formats
        if text != "%s"
    ]


@pytest.mark.parametrize("line", [line for block in blocks("log") for line in block.splitlines()])
def test_log_line_can_be_logged(line: str) -> None:
    """Each line of a log block is what some format of the code makes, with … for what varies."""
    assert any(pattern.match(line) for pattern in logged())


def test_sql_runs(db: Db) -> None:
    """Every statement of the page is understood by the server, against an empty schema."""
    statements = blocks("sql")
    assert len(statements) > 8
    for text in statements:
        db.execute(text.encode())


def commands() -> list[str]:
    """Return the `fastq …` lines of the console blocks, but those that need a running fleet or an app."""
    lines = [line.strip().removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    return [line for line in lines if line.startswith("fastq ")]


@pytest.mark.parametrize("line", commands())
def test_command_runs(db: Db, line: str) -> None:
    """Each command of the page does what it is there for, on a database with one failed job, 1024, in queue mail."""
    db.execute(
        "insert into fastq.finished"
        " (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)"
        " values (0, 1024, 'failed', 4, 4, 0, 'mail', '', 'jobs.welcome', '{}', %s)",
        [json.dumps({"crashes": 3, "errors": [{"type": "TimeoutError", "message": "", "traceback": ""}]})],
    )
    words = shlex.split(line, comments=True)
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, timeout=60, check=False)
    too_late = words[1:3] == ["jobs", "cancel"]  # the job has ended
    assert done.returncode == int(too_late), done.stderr
    states = [row[0] for row in db.execute("select state from fastq.job")]
    assert states == (["ready"] if words[1:3] == ["jobs", "retry"] else ["failed"])


def test_metrics_table_is_complete() -> None:
    """It has every family of /metrics with its type, and no other."""
    board = Board(cells=1, running=1)
    board.cells[0][Word.PID], board.cells[0].state = 1, CellState.RUNNING
    text = exposition(board.cells, Totals(), leading=True, beat_age_s=0.0)
    served = set(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    assert set(re.findall(r"^\| `(fastq_\w+)(?:\{[\w,]+\})?` \| (\w+) \|", PAGE, re.MULTILINE)) == served


def test_exit_codes_are_complete() -> None:
    """The table has the supervisor's codes."""
    section = PAGE.partition("## Exit codes")[2].partition("\n## ")[0]
    assert re.findall(r"^\| (\d) \|", section, re.MULTILINE) == [str(int(code)) for code in ExitCode]


def test_links_lead_somewhere() -> None:
    """Each link is to a heading of the page or to a file beside it."""
    titles = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    headings = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        beside = TOP / "docs" / target
        assert target.removeprefix("#") in headings if target.startswith("#") else beside.is_file(), target


def test_architecture_names_files_that_are_there() -> None:
    """`fastq/steward/pages.py http.py` are two files of one folder."""
    named = [words.split() for words in re.findall(r"`((?:fastq|tests|migrations)/[^`]*)`", ARCHITECTURE)]
    files = [TOP / first for first, *_ in named] + [
        (TOP / first).parent / rest for first, *more in named for rest in more
    ]
    assert [str(file) for file in files if not file.exists()] == []
    assert len(files) > 20
