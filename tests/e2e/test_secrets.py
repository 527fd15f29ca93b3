"""A password in a DSN reaches no log and no terminal, also when the connection fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from line import Line
from psycopg import conninfo

pytestmark = pytest.mark.e2e

SECRET = "hunter2"
JOBS = """
import fastq

app = fastq.App()

@app.task
async def fine(n: int) -> None: ...
"""
COMMANDS = {
    "worker": ["worker", "jobs:app", "-p", "1"],
    "worker json": ["worker", "jobs:app", "-p", "1", "--log-format", "json"],
    "enqueue": ["enqueue", "jobs:app", "fine", "--args", '{"n": 1}'],
    "status": ["status"],
    "migrate": ["migrate"],
}
WRONG = {
    "port": (f"postgresql://u:{SECRET}@127.0.0.1:1/db", 3),
    "keywords": (f"host=127.0.0.1 port=1 user=u password={SECRET}", 3),
    "host": (f"postgresql://u:{SECRET}@nowhere.invalid/db", 3),
    "scheme": (f"postgres//u:{SECRET}@127.0.0.1/db", 2),
    "quote": (f"host=127.0.0.1 password='{SECRET}", 2),
    "parameter": (f"postgresql://u:{SECRET}@127.0.0.1:1/db?nonsense=1", 2),
}


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    monkeypatch.chdir(tmp_path)


def say(command: str, dsn: str) -> tuple[int, str]:
    """Run a command to its end with FASTQ_DSN; return its exit code and everything it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "fastq", *COMMANDS[command]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        env={**os.environ, "FASTQ_DSN": dsn},
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("wrong", ["port", "scheme"])
def test_a_failed_connection_does_not_tell_the_password(command: str, wrong: str) -> None:
    """Whatever the command, a connection error and a DSN that cannot be parsed are said without it."""
    dsn, code = WRONG[wrong]
    got, text = say(command, dsn)
    assert (got, SECRET in text) == (code, False), text
    assert "Traceback" not in text


@pytest.mark.parametrize("wrong", [name for name in WRONG if name not in ("port", "scheme")])
def test_no_kind_of_wrong_dsn_tells_the_password(wrong: str) -> None:
    """Unknown hosts and parameters, keywords, an open quote."""
    dsn, code = WRONG[wrong]
    got, text = say("status", dsn)
    assert (got, SECRET in text) == (code, False), text


def test_an_unescaped_password_is_not_told_as_a_host() -> None:
    """postgresql://u:p@hunter2@host: the password's second half is no host to repeat."""
    _, text = say("status", f"postgresql://u:p@{SECRET}@127.0.0.1:1/db")
    assert SECRET not in text


def test_a_fleet_that_loses_its_database_does_not_tell_the_password(dsn: str) -> None:
    """Worker, steward and listener say what is wrong, again and again, with stacks and all, but not that."""
    secret = str(conninfo.conninfo_to_dict(dsn).get("password") or SECRET)
    with Line(dsn) as line, Path("log").open("w") as log:
        env = {**os.environ, "FASTQ_DSN": conninfo.make_conninfo(line.dsn, password=secret, sslmode="disable")}
        child = subprocess.Popen(
            [sys.executable, "-m", "fastq", "worker", "jobs:app", "-p", "1", "--shutdown-timeout", "1"],
            stderr=log,
            env=env,
        )
        try:
            wait_line(child, "is ready")
            wait_line(child, "steward .* started")
            line.shut()
            wait_line(child, r"steward +\d+ not listening, workers poll meanwhile: ")
            wait_line(child, r"link +\d+ database trouble \(1\), trying again: ", count=3)
            child.send_signal(signal.SIGUSR1)
            wait_line(child, "runs \\(lease/job\\): none")
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(60)
    assert secret not in Path("log").read_text()


def wait_line(child: subprocess.Popen[bytes], pattern: str, *, count: int = 1) -> None:
    """Wait until so many lines of the log match."""
    deadline = time.monotonic() + 30
    while len(re.findall(pattern, text := Path("log").read_text())) < count:
        assert child.poll() is None, text
        assert time.monotonic() < deadline, f"waited for {pattern}\n{text}"
        time.sleep(0.005)  # the pause of a poll with a deadline; nothing depends on its length
