"""How the command behaves when it is stopped, when its output goes nowhere, and on poor terminals."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from fastq.observability.logs import ConsoleFormatter, JsonFormatter

pytestmark = pytest.mark.e2e

INTERRUPTING = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"


def fastq(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `fastq …`; what it writes is read as UTF-8."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    command = [sys.executable, "-m", "fastq", *arguments]
    return subprocess.run(command, encoding="utf-8", check=False, **(streams | options))


def test_ctrl_c_while_the_command_is_still_importing_is_one_word(tmp_path: Path) -> None:
    """Before click is there to catch it: `stopped`, exit 130, no traceback."""
    (tmp_path / "click.py").write_text(INTERRUPTING)  # the current directory comes first
    done = subprocess.run(
        [sys.executable, "-m", "fastq", "status"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


# -- what strangers wrote


EVIL = "\x1b[2J\x1b]0;owned\x07\r\x9b31m\u202e"
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")
INSERTS = [
    "insert into fastq.ready_0 (queue, task, group_key, payload) values (%(name)s, %(name)s, %(name)s, %(payload)s)",
    """insert into fastq.finished
    (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
    values (0, 77, 'failed', 4, 4, 1000, %(name)s, %(name)s, %(name)s, %(payload)s, %(meta)s)""",
    "insert into fastq.queue (name, paused) values (%(name)s, true)",
    """insert into fastq.worker (shard, id, host, pid, name, expires_at)
    values (0, 7, %(name)s, 7, %(name)s, now() + interval '1 h')""",
]


def fill_with_evil(db: psycopg.Connection[Any]) -> None:
    """Put terminal commands wherever the tables take them."""
    error = {"type": EVIL, "message": f"{EVIL}\n2 jobs", "traceback": EVIL, "attempt": 4, "at": EVIL}
    values = {
        "name": EVIL,
        "payload": json.dumps({EVIL: EVIL}, ensure_ascii=False),
        "meta": json.dumps({"errors": [error], "headers": {EVIL: EVIL}, "unique": [EVIL, "finished"]}),
    }
    taken = 0
    for insert in INSERTS:
        with suppress(psycopg.errors.CheckViolation):  # what the door refuses cannot be shown
            db.execute(insert.encode(), values)
            taken += 1
    assert taken


@pytest.mark.parametrize(
    "command",
    ["jobs list", "jobs show 77", "jobs list --error owned", "status", "queues list", "queues set q", "workers list"],
)
def test_text_in_rows_cannot_steer_the_terminal(db: psycopg.Connection[Any], command: str) -> None:
    """Names, arguments, errors and hosts are shown with their control characters escaped, also in JSON."""
    fill_with_evil(db)
    for arguments in (command.split(), [*command.split(), "--json"]):
        done = fastq(*arguments)
        assert done.returncode == 0, done.stderr
        assert STEERING.findall(done.stdout + done.stderr) == []


@pytest.mark.parametrize("formatter", [ConsoleFormatter(colour=False), JsonFormatter()], ids=["console", "json"])
def test_text_in_log_lines_cannot_steer_the_terminal(formatter: logging.Formatter) -> None:
    """Task names and exceptions reach the log; the terminal that it runs over is safe in both formats."""
    error = (ValueError, ValueError(EVIL), None)
    record = logging.LogRecord("fastq.worker", logging.ERROR, __file__, 1, "task %s failed", (EVIL,), error)
    assert STEERING.findall(formatter.format(record)) == []


# -- what PostgreSQL refuses


@pytest.mark.parametrize(
    "command",
    [
        "bench throughput --jobs 100 --repeat 1",
        "migrate --shards 7",
        "jobs retry 1",
        "jobs delete --all --yes",
        "queues pause mail",
        "queues purge mail --yes",
        "queues set mail --weight 2",
    ],
)
def test_read_only_server_is_one_sentence(db: psycopg.Connection[Any], dsn: str, command: str) -> None:
    """A stand-by, or a database that was set so: no traceback."""
    read_only = conninfo.make_conninfo(dsn, options="-c default_transaction_read_only=on")
    done = fastq(*command.split(), "--dsn", read_only)
    assert done.returncode in (1, 4)
    assert "Traceback" not in done.stderr
    assert "read-only transaction" in done.stderr.splitlines()[-1]


# -- where output goes


def test_full_disk_behind_stdout_is_one_sentence() -> None:
    """`fastq migrate --sql > file` on a full disk: exit 1, no traceback."""
    with Path("/dev/full").open("w") as full:
        for arguments in (["migrate", "--sql"], ["--help"], ["status", "--help"]):
            done = fastq(*arguments, stdout=full)
            assert (done.returncode, done.stderr) == (
                1,
                "fastq: the output cannot be written: No space left on device\n",
            )


def test_full_disk_behind_stderr_changes_no_exit_code(db: psycopg.Connection[Any]) -> None:
    """What cannot be said on stderr is nobody's loss."""
    with Path("/dev/full").open("w") as full:
        assert fastq("nosuch", stderr=full).returncode == 2
        assert fastq("status", stderr=full).returncode == 0
        assert fastq("status", "--dsn", "host=/nonexistent", stderr=full).returncode == 3


def test_reader_that_went_away_is_exit_141(db: psycopg.Connection[Any]) -> None:
    """As docs/cli.md says; nothing on stderr."""
    read, write = os.pipe()
    os.close(read)
    done = fastq("status", stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_locale_without_the_letters_is_no_error(db: psycopg.Connection[Any]) -> None:
    """Under an ASCII locale they are shown as escapes; JSON is UTF-8 all the same."""
    db.execute("insert into fastq.ready_0 (queue, task) values ('größe', 't')")
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    assert r"gr\xf6\xdfe" in fastq("queues", "list", env=ascii_only).stdout
    assert "größe" in fastq("queues", "list", "--json", env=ascii_only).stdout
