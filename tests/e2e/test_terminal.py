"""What commands look like on a terminal: they fit 80 columns, have colour where it is wanted, and progress."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import psycopg
import pytest
from rich.cells import cell_len

pytestmark = pytest.mark.e2e

Db = psycopg.Connection[Any]
SGR = re.compile(r"\x1b\[[0-9;]*m")
STEERING = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")
TASK = "myapp.billing.send_monthly_invoice"
JOBS = "import fastq\napp = fastq.App()\n@app.task\nasync def welcome(user_id: int) -> None: ...\n"


def on_terminal(*arguments: str, columns: int = 80, stdin: Any = subprocess.DEVNULL, **environment: str) -> str:
    """Run `fastq …` with a terminal for stdout and stderr; return what it wrote there."""
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    inherited = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
    child = subprocess.Popen(
        [sys.executable, "-m", "fastq", *arguments],
        stdin=stdin,
        stdout=theirs,
        stderr=theirs,
        env=inherited | {"TERM": "xterm-256color"} | environment,
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            piece = os.read(mine, 65536)
        except OSError:  # Linux says so when the last writer is gone
            break
        written += piece
    os.close(mine)
    assert child.wait(60) in (0, 2, 3), written
    return written.decode().replace("\r\n", "\n")


def lines(text: str) -> list[str]:
    """Return the lines without their colours."""
    return SGR.sub("", text).splitlines()


@pytest.fixture
def busy(db: Db) -> Db:
    """Give a database with long names, many digits, and workers."""
    error = {"type": "TimeoutError", "message": "the mail server did not answer within 30 seconds", "attempt": 4}
    for number, (state, queue) in enumerate([("failed", "mail"), ("discarded", "größe名前"), ("cancelled", "x" * 60)]):
        db.execute(
            "insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task,"
            " meta) values (0, %s, %s, 4, 4, 1000, %s, '', %s, %s)",
            [123_456_000 + number, state, queue, TASK, json.dumps({"errors": [error]})],
        )
    db.execute("insert into fastq.queue (name, paused) values ('mail', true)")
    names = ("running", "claimed", "succeeded", "failed", "retried", "returned", "lost")
    db.execute(
        "insert into fastq.worker (shard, id, host, pid, name, expires_at, counters)"
        " values (0, 1, 'worker-7.internal.example.org', 123456, 'blue-fleet', now() + interval '20s', %s)",
        [json.dumps(dict.fromkeys(names, 1_234_567))],
    )
    return db


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("command", ["jobs list", "status", "queues list", "workers list"])
def test_tables_fit_the_terminal(busy: Db, command: str, columns: int) -> None:
    """No row is wrapped, a row is a line, no figure is shortened; what is left out is named."""
    shown = lines(on_terminal(*command.split(), columns=columns))
    assert [line for line in shown if cell_len(line.rstrip()) > columns and "tables" not in line] == []
    text = "\n".join(shown)
    if command == "jobs list":
        assert len([line for line in shown if re.match(r"1234560\d\d ", line)]) == 3
        assert all(state in text for state in ("failed", "discarded", "cancelled", "Timeout"))
    if command in ("status", "workers list"):
        (worker,) = (line for line in shown if line.startswith("worker-7"))
        assert "1,234,567" in worker
        assert "in a wider terminal: CLAIMED" in text


def test_pipe_gets_everything_in_full(busy: Db) -> None:
    """No colour, no …, however narrow: what scripts read does not depend on a terminal."""
    for command in ("jobs list", "workers list"):
        done = subprocess.run(
            [sys.executable, "-m", "fastq", *command.split()],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"COLUMNS": "40"},
        )
        assert "\x1b" not in done.stdout
        full = (TASK, "TimeoutError: the mail server") if command == "jobs list" else ("worker-7.internal.example.org",)
        assert all(text in done.stdout for text in full)


@pytest.mark.parametrize(
    ("environment", "colour"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
    ids=["terminal", "NO_COLOR", "empty NO_COLOR", "dumb"],
)
def test_colour_is_for_terminals_that_want_it(busy: Db, environment: dict[str, str], colour: bool) -> None:
    """Tables, errors and log lines keep to it."""
    assert bool(SGR.search(on_terminal("jobs", "list", **environment))) is colour
    assert bool(SGR.search(on_terminal("status", "--dsn", "host=/nonexistent", **environment))) is colour
    said = on_terminal("worker", "json:app", "-Q", "a", "--dry-run", **environment)
    assert bool(SGR.search(said)) is colour


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_long_enqueue_shows_a_bar_where_a_line_can_be_rewritten(
    db: Db, term: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many, how fast, how far; the cursor is never hidden, and in the end only the summary stands there."""
    monkeypatch.chdir(tmp_path)
    Path("jobs.py").write_text(JOBS)
    Path("users.jsonl").write_text("".join(f'{{"user_id": {n}}}\n' for n in range(50_000)))
    shown = on_terminal("enqueue", "jobs:app", "welcome", "--jsonl", "users.jsonl", TERM=term)
    assert "\x1b[?25l" not in shown
    assert STEERING.sub("", shown).splitlines()[-1].startswith("enqueued 50,000 jobs in ")
    if term == "dumb":
        assert STEERING.search(shown) is None
        assert len(lines(shown)) == 1
    else:
        assert re.search(r"enqueueing  .*━.*%  [\d,]+ jobs  [\d,]+/s", SGR.sub("", shown))


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--help"], ("rich", "psycopg", "asyncio")),
        (["--version"], ("rich", "psycopg", "asyncio")),
        (["worker", "--help"], ("rich", "psycopg", "asyncio")),
        (["status"], ("rich",)),
        (["status", "--json"], ("rich",)),
        (["jobs", "list"], ("rich",)),
    ],
    ids=" ".join,
)
def test_what_is_not_needed_is_not_imported(db: Db, arguments: list[str], absent: tuple[str, ...]) -> None:
    """Commands that draw nothing start without Rich, and those that ask no database without its driver."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "fastq", *arguments], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "click" in imported
    assert imported & set(absent) == set()
