"""`fastq enqueue` as a user types it: one job, lines from a file and from a pipe, bad lines, Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.e2e

JOBS = """
import fastq

app = fastq.App(payload_limit_bytes=2000)

@app.task(queue="mail")
async def welcome(user_id: int, template: str = "hello") -> None: ...

@app.task
async def tree(nodes: list) -> None: ...

@app.task
async def anything(**given) -> None: ...
"""
COMMAND = [sys.executable, "-m", "fastq", "enqueue", "jobs:app"]
Db = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    monkeypatch.chdir(tmp_path)


def enqueue(*args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run `fastq enqueue jobs:app …` to its end."""
    done = subprocess.run([*COMMAND, *args], input=stdin, capture_output=True, timeout=60, check=False)
    text = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in text.stderr, text.stderr
    return text


def payloads(db: Db) -> list[Any]:
    """Return the arguments of all ready jobs in line."""
    return [row[0] for row in db.execute("select payload from fastq.job order by id")]


def count(db: Db) -> int:
    """Return how many jobs exist."""
    return int(db.execute("select count(*) from fastq.job").fetchone()[0])  # type: ignore[index]


def lines(*rows: object) -> bytes:
    """Return JSON lines."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


# -- one job


def test_one_job_prints_its_id(db: Db) -> None:
    """The id on standard output is the id of the job in the database, in the task's queue."""
    done = enqueue("welcome", "--args", '{"user_id": 7}')
    assert done.returncode == 0
    row = db.execute("select id, task, queue, priority, payload from fastq.job").fetchone()
    assert row == (int(done.stdout), "jobs.welcome", "mail", 4, {"user_id": 7})


def test_one_job_as_json(db: Db) -> None:
    """`--json` prints one object with the id."""
    done = enqueue("jobs.welcome", "--args", '{"user_id": 7}', "--json")
    assert json.loads(done.stdout) == {"id": db.execute("select id from fastq.job").fetchone()[0]}  # type: ignore[index]


def test_queue_and_priority_replace_the_tasks_own(db: Db) -> None:
    """--queue and --priority are those of the job."""
    assert enqueue("anything", "--queue", "slow", "--priority", "9").returncode == 0
    assert db.execute("select queue, priority from fastq.job").fetchone() == ("slow", 9)


def test_environment_twin_sets_an_option(db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    """FASTQ_ENQUEUE_QUEUE is --queue."""
    monkeypatch.setenv("FASTQ_ENQUEUE_QUEUE", "slow")
    assert enqueue("anything").returncode == 0
    assert db.execute("select queue from fastq.job").fetchone() == ("slow",)


def test_delay_waits_by_the_databases_clock(db: Db) -> None:
    """A job with --delay 2h stands in scheduled, due in two hours."""
    assert enqueue("anything", "--delay", "2h").returncode == 0
    due = "select state, round(extract(epoch from run_at - now()) / 3600) from fastq.job"
    assert db.execute(due).fetchone() == ("scheduled", 2)


def test_what_has_a_time_limit(db: Db) -> None:
    """It expires in the worker that comes too late."""
    assert enqueue("anything", "--expires", "90").returncode == 0
    assert db.execute("select meta ->> 'expires' from fastq.job").fetchall() == [("90.0",)]


@pytest.mark.parametrize("at", ["2031-05-01T09:00:00+02:00", "2031-05-01T07:00Z", "2031-05-01 07:00"])
def test_at_takes_iso_times(db: Db, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """A time without an offset is in this machine's time zone, here UTC."""
    monkeypatch.setenv("TZ", "UTC")
    assert enqueue("anything", "--at", at).returncode == 0
    row = db.execute("select run_at = '2031-05-01T07:00:00Z'::timestamptz from fastq.job").fetchone()
    assert row == (True,)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["nowhere"], "there is no task 'nowhere'"),
        (["welcome"], "jobs.welcome needs 'user_id'"),
        (["welcome", "--args", "{"], "--args is not valid JSON"),
        (["welcome", "--args", "[7]"], 'not an object of arguments, like {"user_id": …}, but an array'),
        (["welcome", "--args", '{"user_id": 1, "x": 2}'], "has no parameter 'x'; it takes 'template', 'user_id'"),
        (["welcome", "--args", '{"user_id": "seven"}'], "Expected `int`, got `str` - at `$.user_id`"),
        (["anything", "--args", "{}", "--jsonl", "-"], "not both"),
        (["anything", "--at", "2031-05-01T07:00Z", "--delay", "1"], "not both"),
        (["anything", "--at", "tomorrow"], "is not a time like"),
        (["anything", "--jsonl", "missing.jsonl"], "does not exist"),
        (["anything", "--queue", ""], "Invalid value for '--queue': it is empty"),
    ],
)
def test_mistake_is_one_sentence_and_exit_2(db: Db, args: list[str], says: str) -> None:
    """What a person gets wrong is said in one sentence, and nothing is enqueued."""
    done = enqueue(*args)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr
    assert count(db) == 0


def test_payload_limit_holds_for_one_job(db: Db) -> None:
    """Arguments larger than the app's limit are refused."""
    done = enqueue("anything", "--args", json.dumps({"x": "y" * 3000}))
    assert (done.returncode, count(db)) == (2, 0)
    assert "the limit is 2,000" in done.stderr


def test_missing_schema_is_exit_4(empty_dsn: str) -> None:
    """A database without the schema is said to need `fastq migrate`."""
    done = enqueue("anything", "--dsn", empty_dsn)
    assert (done.returncode, "run `fastq migrate`" in done.stderr) == (4, True)


def test_unreachable_database_is_exit_3() -> None:
    """Nobody listens there."""
    assert enqueue("anything", "--dsn", "host=127.0.0.1 port=1").returncode == 3


def test_dsn_option_goes_before_the_apps_and_that_before_the_environment(
    db: Db, dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """--dsn, then App(dsn=…), then FASTQ_DSN."""
    monkeypatch.setenv("FASTQ_DSN", "host=127.0.0.1 port=1")
    assert enqueue("anything", "--dsn", dsn).returncode == 0
    (tmp_path / "jobs.py").write_text(JOBS.replace("fastq.App(", f"fastq.App({dsn!r}, "))
    assert enqueue("anything").returncode == 0
    assert count(db) == 2
    assert enqueue("anything", "--dsn", "host=127.0.0.1 port=1").returncode == 3


# -- lines


def test_lines_of_a_pipe_become_jobs_in_order(db: Db) -> None:
    """Lines of several blocks and chunks keep their order; the summary counts them."""
    rows = [{"user_id": i, "template": "ü\\\t\n\u2028"} for i in range(20_000)]
    done = enqueue("welcome", "--jsonl", "-", stdin=lines(*rows))
    assert done.returncode == 0
    assert payloads(db) == rows
    assert done.stdout.startswith("enqueued 20,000 jobs in ")
    assert done.stderr == ""


def test_lines_of_a_file_with_options(db: Db, tmp_path: Path) -> None:
    """--jsonl FILE takes the same options as one job; --json prints what happened."""
    (tmp_path / "u.jsonl").write_bytes(lines(*({"user_id": i} for i in range(3000))))
    done = enqueue("welcome", "--jsonl", "u.jsonl", "--queue", "bulk", "--delay", "1h", "--json")
    result = json.loads(done.stdout)
    assert (result["jobs"], result["skipped"]) == (3000, 0)
    state = "select queue, state, count(*) from fastq.job group by queue, state"
    assert db.execute(state).fetchall() == [("bulk", "scheduled", 3000)]


def test_line_endings_of_all_kinds(db: Db) -> None:
    """A byte order mark, CRLF, empty lines and a last line without newline are fine."""
    text = b'\xef\xbb\xbf{"user_id": 1}\r\n\r\n\n  \n{"user_id":\t2}\n{"user_id": 3}'
    assert enqueue("welcome", "--jsonl", "-", stdin=text).returncode == 0
    assert payloads(db) == [{"user_id": 1}, {"user_id": 2}, {"user_id": 3}]


def test_nothing_to_read_is_no_error(db: Db) -> None:
    """An empty pipe enqueues nothing and says so."""
    done = enqueue("welcome", "--jsonl", "-")
    assert (done.returncode, count(db)) == (0, 0)
    assert done.stdout.startswith("enqueued 0 jobs")


NO_TEXT = b'{"user_id": 1, "template": "\xff"}'
BAD = [
    (b'{"user_id": 1', "not valid JSON: "),
    (b'{"user_id": NaN}', "not valid JSON: "),
    (NO_TEXT, f"byte {NO_TEXT.index(0xFF) + 1} is not valid UTF-8"),
    (b"[1]", 'not an object of arguments, like {"user_id": …}, but an array'),
    (b"null", "but null"),
    (b'{"user_id": 1} {"user_id": 2}', "not valid JSON: "),
    (b'{"user": 1}', "jobs.welcome needs 'user_id'"),
    (b'{"user_id": 1, "x": 1}', "jobs.welcome has no parameter 'x'"),
    (b'{"user_id": "1"}', "Expected `int`, got `str` - at `$.user_id`"),
    (b'{"user_id": 1, "template": "' + b"x" * 2000 + b'"}', "larger than the limit of 2,000 bytes"),
    (b'{"user_id": 1, "template": "' + b"x" * 1_000_000 + b'"}', "longer than 278,144 bytes"),
]


@pytest.mark.parametrize(("bad", "says"), BAD, ids=[says[:30] + str(i) for i, (_, says) in enumerate(BAD)])
def test_bad_line_stops_everything_by_default(db: Db, bad: bytes, says: str) -> None:
    """The line is named with its reason; nothing is enqueued although the lines before it had been sent; exit 2."""
    good = [{"user_id": i} for i in range(3000)]
    done = enqueue("welcome", "--jsonl", "-", stdin=lines(*good) + bad + b"\n" + lines(*good))
    assert (done.returncode, count(db)) == (2, 0)
    assert done.stderr.startswith("fastq: line 3,001: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_bad_lines_can_be_skipped(db: Db) -> None:
    """Each bad line is reported and left out, all others are enqueued, exit 0."""
    text = b"".join(b'{"user_id": 1}\n' + bad + b"\n" for bad, _ in BAD)
    done = enqueue("welcome", "--jsonl", "-", "--on-error", "skip", stdin=text)
    assert (done.returncode, payloads(db)) == (0, [{"user_id": 1}] * len(BAD))
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [f"line {2 * (i + 1)}" for i in range(len(BAD))]
    assert done.stdout.rstrip().endswith(f", {len(BAD)} lines skipped")


def test_many_bad_lines_are_only_counted(db: Db) -> None:
    """Twenty are shown, the summary has the count."""
    done = enqueue("welcome", "--jsonl", "-", "--on-error", "skip", stdin=b"x\n" * 500 + lines({"user_id": 1}))
    assert (done.returncode, count(db), done.stderr.count("\n")) == (0, 1, 21)
    assert done.stdout.rstrip().endswith(", 500 lines skipped")


def test_nesting_too_deep_to_be_written_is_a_bad_line(db: Db) -> None:
    """A line that can be read but not written again does not end the stream that may skip it."""
    deep = b'{"nodes": ' + b"[" * 300 + b"]" * 300 + b"}\n"
    done = enqueue("tree", "--jsonl", "-", "--on-error", "skip", stdin=deep + lines({"nodes": []}))
    assert (done.returncode, payloads(db)) == (0, [{"nodes": []}])
    assert "line 1: " in done.stderr


def test_closed_stderr_stops_nothing(db: Db) -> None:
    """Reports of bad lines that nobody reads are no reason to lose the good ones."""
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    with os.fdopen(write_fd, "wb") as nowhere:
        text = b"x\n" + lines({"user_id": 1})
        command = [*COMMAND, "welcome", "--jsonl", "-", "--on-error", "skip"]
        done = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=nowhere, timeout=60, check=False)
    assert (done.returncode, count(db)) == (0, 1)


# -- the terminal


def on_terminal(command: list[str], stdin: bytes) -> tuple[int, str]:
    """Run a command whose stderr is a terminal; return its exit code and what the terminal showed."""
    master, slave = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        while True:
            try:
                chunk = os.read(master, 65536)
            except OSError:
                return
            shown.append(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=slave, timeout=60, check=False)
    os.close(slave)
    reader.join()
    os.close(master)
    return done.returncode, b"".join(shown).decode()


def test_terminal_shows_progress(db: Db, tmp_path: Path) -> None:
    """On a terminal there is a count, a rate, and for a file a percentage."""
    (tmp_path / "u.jsonl").write_bytes(lines(*({"user_id": i} for i in range(200_000))))
    code, shown = on_terminal([*COMMAND, "welcome", "--jsonl", "u.jsonl"], b"")
    assert code == 0
    assert " jobs " in shown
    assert "/s" in shown
    assert "%" in shown
    assert shown.endswith("\x1b[2K")


# -- Ctrl-C


def test_ctrl_c_enqueues_nothing_and_says_so(db: Db) -> None:
    """A stream that is stopped half-way leaves no job behind; exit 130."""
    pipe = subprocess.PIPE
    child = subprocess.Popen([*COMMAND, "welcome", "--jsonl", "-"], stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        assert child.stdin is not None
        child.stdin.write(lines(*({"user_id": i} for i in range(3000))))  # more than one chunk, and the end is open
        child.stdin.flush()
        wait_for_copy(db, child)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    finally:
        child.kill()
        child.communicate()
    assert (child.returncode, out) == (130, b"")
    assert err.endswith(b"nothing was enqueued\n")
    assert b"Traceback" not in err
    assert count(db) == 0


def wait_for_copy(db: Db, child: subprocess.Popen[bytes]) -> None:
    """Return when rows are being copied into the test's database; a busy machine may take long to get there."""
    copying = "select count(*) from pg_stat_progress_copy where datname = current_database()"
    deadline = time.monotonic() + 120
    while db.execute(copying).fetchone() == (0,):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline, "no COPY in sight"
        time.sleep(0.005)  # the pause of a poll: the child may need this CPU
