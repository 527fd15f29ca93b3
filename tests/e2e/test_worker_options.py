"""`fastq worker` as a user types it: what it refuses, what it says, what its options do. Real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.e2e

JOBS = """
from pathlib import Path
import fastq

app = fastq.App()
other = object()

@app.task
def note(n: int) -> None:
    with Path("ran").open("a") as file:
        file.write(f"{n}\\n")

@app.task(queue="mail")
async def mail() -> None: ...
"""
COMMAND = [sys.executable, "-m", "fastq", "worker"]
Db = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    monkeypatch.chdir(tmp_path)


def worker(*args: str) -> subprocess.CompletedProcess[str]:
    """Run `fastq worker …` until it ends by itself."""
    return subprocess.run([*COMMAND, *args], capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def running(db: Db, *args: str) -> Iterator[subprocess.Popen[str]]:
    """Give a started `fastq worker …` with a registered worker; it is stopped with its children in the end."""
    log = Path("log").open("w+")  # noqa: SIM115 - closed below
    child = subprocess.Popen([*COMMAND, *args], stderr=log, text=True)
    try:
        until(lambda: one(db, "select count(*) from fastq.worker") > 0, child)
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGQUIT)
        child.wait(30)
        log.close()


def until(happened: Any, child: subprocess.Popen[str]) -> None:
    """Ask the database until something has happened; fail when the child is gone first."""
    deadline = time.monotonic() + 30
    while not happened():
        assert child.poll() is None, Path("log").read_text()
        assert time.monotonic() < deadline, Path("log").read_text()


def one(db: Db, query: str) -> Any:
    """Return the one value of a query."""
    row = db.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def fill(db: Db, task: str, jobs: int, queue: str = "default") -> None:
    """Enqueue jobs numbered from 1."""
    payloads = json.dumps([{"n": n} if task == "jobs.note" else {} for n in range(1, jobs + 1)])
    db.execute("select fastq.enqueue_many(%s, %s::json, %s)", [task, payloads, queue])


# -- what it refuses


UNSPEAKABLE = """
class Unspeakable(Exception):
    def __str__(self):
        raise ValueError

raise Unspeakable
"""


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["nowhere:app"], "there is no module 'nowhere'"),
        (["jobs:missing"], "'jobs' has no fastq.App named 'missing'; it has jobs:app"),
        (["jobs:other"], "'jobs' has no fastq.App named 'other'"),
        (["broken:app"], "importing 'broken' failed: ZeroDivisionError"),
        (["needs:app"], "it needs the module 'not_installed'"),
        ([], "Missing argument 'TARGET'"),
        (["jobs:app", "--nonsense"], "No such option"),
        (["jobs:app", "-p", "0"], "is not in the range"),
        (["jobs:app", "-Q", "mail:0"], "is not a queue"),
        (["jobs:app", "--lease", "soon"], "is not a duration"),
        (["jobs:app", "--max-memory-per-child", "much"], "is not a size"),
        (["jobs:app", "--cpus", "x"], "CPUs are given like 0-3,7"),
        (["jobs:app", "--cpus", "0,99"], "this process may not use CPU 99, only "),
        (["jobs:app", "-Q", "mail", "-X", "slow"], "-Q/--queues or -X/--exclude-queues, not both"),
        (["jobs:app", "--metrics-addr", "somewhere"], "'somewhere' is not an address to listen on"),
        (["jobs:app", "--health-addr", ":99999", "--dry-run"], "':99999' is not an address to listen on"),
        ([":app"], "TARGET is module:attr, such as jobs:app for the app of jobs.py, not ':app'"),
        (["./jobs.py"], "TARGET is module:attr, such as jobs:app for the app of jobs.py, not './jobs.py'"),
        (["jobs.py"], "TARGET is module:attr"),
        (["jobs:app()"], "TARGET is module:attr"),
        (["leaves:app"], "importing 'leaves' failed: it called sys.exit(3) ("),
        (["torn:app"], "importing 'torn' failed: SyntaxError: "),
        (["unspeakable:app"], "importing 'unspeakable' failed: Unspeakable: its text cannot be made ("),
        (["cancelled:app"], "importing 'cancelled' failed: CancelledError: "),
        (["jobs:app", "-Q", "mail:x"], "'mail:x' is not a queue, or a queue and a weight"),
        (["jobs:app", "-Q", "mail;default"], "several are separated by commas"),
        (["jobs:app", "-Q", ""], "it names no queue"),
        (["jobs:app", "-X", "mail:3"], "has a weight"),
        (["jobs:app", "--max-memory-per-child", "1K"], "would have it replaced for ever"),
        (["jobs:app", "--max-memory-per-child", "9M"], "MB before its first job"),
        (["jobs:app", "--prefetch-ms", "nan"], "is not a number"),
        (["jobs:app", "--lease", "0"], "'--lease': 0 is less than 0.5 s"),
        (["jobs:app", "--lease", "1000d"], "'--lease': 1000d is more than"),
        (["jobs:app", "--shutdown-timeout", "0"], "'--shutdown-timeout': 0 is less"),
        (["jobs:app", "--poll-interval", "9" * 400], "'--poll-interval'"),
        (["jobs:app", "--cpus", ""], "'--cpus': it is empty"),
        (["jobs:app", "--dsn", ""], "'--dsn': it is empty"),
        (["jobs:app", "--metrics-addr", ""], "'--metrics-addr': it is empty"),
        (["jobs:app", "--listen-dsn", "garbage", "--dry-run"], "the DSN is neither"),
        (["jobs:app", "--name", "a\nb"], "'--name': 'a\\nb' is not a name"),
    ],
)
def test_mistake_is_one_sentence_and_exit_2(dsn: str, args: list[str], says: str) -> None:
    """A person's mistake is said without a traceback, before anything is forked."""
    Path("broken.py").write_text("1 / 0")
    Path("needs.py").write_text("import not_installed")
    Path("leaves.py").write_text("import sys; sys.exit(3)")
    Path("torn.py").write_text("def (:")
    Path("cancelled.py").write_text("import asyncio; raise asyncio.CancelledError")
    Path("unspeakable.py").write_text(UNSPEAKABLE)
    done = worker(*args)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_unreachable_database_is_exit_3() -> None:
    """Nobody listens there; one sentence."""
    done = worker("jobs:app", "--dsn", "host=127.0.0.1 port=1")
    assert (done.returncode, done.stderr.startswith("fastq: cannot connect to PostgreSQL")) == (3, True), done.stderr
    assert "Traceback" not in done.stderr


def test_missing_schema_is_exit_4(empty_dsn: str) -> None:
    """The sentence says what to run."""
    done = worker("jobs:app", "--dsn", empty_dsn)
    assert (done.returncode, done.stderr.strip()) == (4, "fastq: the database has no fastq schema: run `fastq migrate`")


def test_newer_schema_is_exit_4(db: Db) -> None:
    """A database that a newer fastq migrated is refused."""
    db.execute("insert into fastq.migration (version, name, checksum) values (9999, 'future', '')")
    done = worker("jobs:app")
    assert (done.returncode, "upgrade fastq" in done.stderr) == (4, True)


# -- what it says


def test_queue_that_no_task_has_is_warned_of(db: Db) -> None:
    """A typo after -Q or -X would wait in silence; it is no error, since jobs can be enqueued into any queue."""
    for option in ("-Q", "-X"):
        done = worker("jobs:app", "--dry-run", option, "mial,default")
        assert done.returncode == 0
        assert "names 'mial', which no task of the app has as its queue; they have 'default'" in done.stderr


def test_dry_run_says_what_would_run(db: Db) -> None:
    """The app, the database, the processes; no worker is registered."""
    done = worker("jobs:app", "--dry-run", "-p", "2", "-c", "7", "-Q", "mail:3,default:1")
    assert done.returncode == 0, done.stderr
    for part in ("2 tasks (jobs.mail, jobs.note)", "processes  2", "7 jobs at once", "mail, default"):
        assert part in done.stdout
    assert one(db, "select count(*) from fastq.worker") == 0


def test_workers_are_pinned_where_there_is_one_for_each_cpu(db: Db) -> None:
    """Where they leave CPUs to others they are not, lest all fleets of a host have the same few; options overrule."""
    ours = sorted(os.sched_getaffinity(0))
    found = {
        options: worker("jobs:app", "--dry-run", *options.split()).stdout
        for options in (f"-p {len(ours)}", "-p 1", "-p 1 --pin", f"-p 1 --cpus {ours[0]}", f"-p {len(ours)} --no-pin")
    }
    said = [("pinned to CPU" in text, "not pinned" in text) for text in found.values()]
    pinned, not_pinned = (True, False), (False, True)
    assert said == [pinned, not_pinned if len(ours) > 1 else pinned, pinned, pinned, not_pinned]


def test_dry_run_says_when_failed_jobs_run_again(db: Db) -> None:
    """A line for each schedule, with the tasks that have it: each wait, and after how long a job is given up."""
    more = "@app.task(retries=0)\nasync def once(): ...\n@app.task(retries=2, backoff=60)\nasync def twice(): ...\n"
    Path("jobs.py").write_text(f"{JOBS}\n{more}")
    done = worker("jobs:app", "--dry-run")
    default = "5, after 2-3 s, 8-12 s, 32-48 s, 2.13-3.2 min, 8.53-12.8 min; given up after 11.4-17.1 min"
    assert done.stdout.splitlines()[-3:] == [
        f"retries    jobs.mail, jobs.note: {default}",
        "           jobs.once: none",
        "           jobs.twice: 2, after 60 s, 60 s; given up after 2 min",
    ]


def test_environment_twins_set_options(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """FASTQ_WORKER_PROCESSES is -p, and the command line goes before it; FASTQ_DSN (set here) is the database."""
    monkeypatch.setenv("FASTQ_WORKER_PROCESSES", "3")
    assert "processes  3" in worker("jobs:app", "--dry-run").stdout
    assert "processes  1" in worker("jobs:app", "--dry-run", "-p", "1").stdout
    monkeypatch.setenv("FASTQ_DSN", "host=127.0.0.1 port=1")
    assert worker("jobs:app", "--dry-run").returncode == 3


def test_dsn_option_goes_before_the_apps_and_that_before_the_environment(
    db: Db, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--dsn, then App(dsn=…), then FASTQ_DSN, DATABASE_URL; and the plan says which it was."""
    nowhere = "host=127.0.0.1 port=1"
    assert "database   FASTQ_DSN, " in worker("jobs:app", "--dry-run").stdout
    monkeypatch.setenv("FASTQ_DSN", nowhere)
    assert "database   --dsn, " in worker("jobs:app", "--dry-run", "--dsn", dsn).stdout
    Path("jobs.py").write_text(JOBS.replace("fastq.App(", f"fastq.App({dsn!r}, "))
    assert "database   App(dsn=…), " in worker("jobs:app", "--dry-run").stdout
    assert worker("jobs:app", "--dry-run", "--dsn", nowhere).returncode == 3
    monkeypatch.setenv("FASTQ_WORKER_DSN", nowhere)
    assert worker("jobs:app", "--dry-run").returncode == 3
    Path("jobs.py").write_text(JOBS)
    monkeypatch.delenv("FASTQ_WORKER_DSN")
    monkeypatch.delenv("FASTQ_DSN")
    monkeypatch.setenv("DATABASE_URL", dsn)
    assert "database   DATABASE_URL, " in worker("jobs:app", "--dry-run").stdout


def test_the_apps_dsn_is_where_the_workers_go(db: Db, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only the plan but the processes go there, whatever FASTQ_DSN says."""
    monkeypatch.setenv("FASTQ_DSN", "host=127.0.0.1 port=1")
    Path("jobs.py").write_text(JOBS.replace("fastq.App(", f"fastq.App({dsn!r}, "))
    fill(db, "jobs.note", 3)
    done = worker("jobs:app", "-p", "1", "--burst")
    assert done.returncode == 0, done.stderr
    assert one(db, "select count(*) from fastq.job") == 0


def test_json_log_is_one_object_a_line(db: Db) -> None:
    """Every line of the log can be read by a machine."""
    done = worker("jobs:app", "-p", "1", "--burst", "--log-format", "json")
    assert done.returncode == 0, done.stderr
    entries = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"at", "level", "logger", "pid", "message"} <= entries[0].keys()
    assert {entry["logger"] for entry in entries} >= {"fastq.supervisor", "fastq.worker"}


def test_log_level_hides_what_is_below(db: Db) -> None:
    """At error a good run says nothing."""
    done = worker("jobs:app", "-p", "1", "--burst", "--log-level", "error")
    assert (done.returncode, done.stderr) == (0, "")


# -- what it does


def test_burst_runs_everything_once_and_exits_0(db: Db) -> None:
    """Two processes drain a thousand jobs between them and leave; nothing is left in the database."""
    fill(db, "jobs.note", 1000)
    done = worker("jobs:app", "-p", "2", "--burst")
    assert done.returncode == 0, done.stderr
    assert sorted(map(int, Path("ran").read_text().split())) == list(range(1, 1001))
    assert one(db, "select (select count(*) from fastq.job) + (select count(*) from fastq.worker)") == 0


def test_queues_are_the_only_ones_served(db: Db) -> None:
    """With -Q mail other queues keep their jobs."""
    fill(db, "jobs.mail", 5, "mail")
    fill(db, "jobs.mail", 3, "slow")
    assert worker("jobs:app", "-p", "1", "--burst", "-Q", "mail").returncode == 0
    assert db.execute("select queue, count(*) from fastq.job group by queue").fetchall() == [("slow", 3)]


def test_excluded_queues_are_left_alone(db: Db) -> None:
    """With -X slow all queues but that one are served."""
    fill(db, "jobs.mail", 5, "mail")
    fill(db, "jobs.mail", 3, "slow")
    assert worker("jobs:app", "-p", "1", "--burst", "-X", "slow").returncode == 0
    assert db.execute("select queue, count(*) from fastq.job group by queue").fetchall() == [("slow", 3)]


def test_name_is_shown_in_the_database(db: Db) -> None:
    """--name is what the fleet calls this host's workers."""
    with running(db, "jobs:app", "-p", "1", "--name", "blue"):
        assert one(db, "select name from fastq.worker") == "blue"


def test_term_drains_and_exits_0(db: Db) -> None:
    """After TERM no worker is registered, no process is left, and jobs that come later wait."""
    with running(db, "jobs:app", "-p", "2") as child:
        fill(db, "jobs.note", 10)
        until(lambda: one(db, "select count(*) from fastq.job") == 0, child)
        pids = [row[0] for row in db.execute("select pid from fastq.worker")]
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0, Path("log").read_text()
    assert one(db, "select count(*) from fastq.worker") == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert len(Path("ran").read_text().split()) == 10


def test_without_listen_jobs_are_found_by_polling(db: Db) -> None:
    """--no-listen and --poll-interval: no NOTIFY is heard, the job runs all the same."""
    with running(db, "jobs:app", "-p", "1", "--no-listen", "--poll-interval", "50ms") as child:
        assert one(db, "select count(*) from pg_stat_activity where application_name = 'fastq listener'") == 0
        fill(db, "jobs.note", 1)
        until(lambda: one(db, "select count(*) from fastq.job") == 0, child)
