"""`fastq bench`, as a user types it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

pytestmark = pytest.mark.e2e

FASTQ = [sys.executable, "-m", "fastq", "bench"]


def bench(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run([*FASTQ, *arguments], capture_output=True, text=True, timeout=timeout, check=False)


def left_behind(db: psycopg.Connection[Any]) -> tuple[int, ...]:
    """Count what stands in the database: jobs, leases, workers, queues."""
    tables = ("job", "lease", "worker", "queue")
    return tuple(db.execute(f"select count(*) from fastq.{table}".encode()).fetchone()[0] for table in tables)  # type: ignore[index]


def wait_for_flow(db: psycopg.Connection[Any]) -> None:
    """Wait until a bench's workers are there, its queue was released, and it has enqueued."""
    deadline = time.monotonic() + 60
    while not db.execute("select from fastq.worker where name like 'fastq-bench-%'").fetchall():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    db.execute("listen fastq")
    assert len(list(db.notifies(timeout=60, stop_after=2))) >= 2


def test_throughput_prints_one_object_with_the_contracts_fields(dsn: str, db: psycopg.Connection[Any]) -> None:
    """Sane figures, beside a ceiling of the same run, and nothing is left in the database."""
    ran = bench("throughput", "--jobs", "2000", "-p", "1", "--repeat", "1", "--json", "--dsn", dsn)
    assert ran.returncode == 0, ran.stderr
    found = orjson.loads(ran.stdout)
    assert (found["scenario"], found["jobs"]) == ("throughput", 2000)
    assert found["jobs_per_s"] > 100
    assert found["ceiling_jobs_per_s"] > 100
    assert found["ratio_to_ceiling"] == pytest.approx(found["jobs_per_s"] / found["ceiling_jobs_per_s"], rel=0.01)
    assert 1 < found["wal_bytes_per_job"] < 20_000
    assert {"server_cpu_us_per_job", "worker_cpu_us_per_job", "limit", "samples", "machine"} <= found.keys()
    assert left_behind(db) == (0, 0, 0, 0)


def test_enqueue_and_latency_write_their_files(dsn: str, db: psycopg.Connection[Any], tmp_path: Path) -> None:
    """Every scenario keeps its raw samples where --output says."""
    for scenario, jobs in (("enqueue", "2000"), ("latency", "20")):
        common = ("-p", "1", "--repeat", "1", "--json", "--dsn", dsn, "--output", str(tmp_path))
        ran = bench(scenario, "--jobs", jobs, *common)
        assert ran.returncode == 0, ran.stderr
        found = orjson.loads(ran.stdout)
        assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]
        assert found["jobs_per_s"] > 0
        (kept,) = tmp_path.glob(f"*-{scenario}.json")
        assert orjson.loads(kept.read_bytes()) == found
    assert left_behind(db) == (0, 0, 0, 0)


def test_jobs_and_queues_of_others_are_not_touched(dsn: str, db: psycopg.Connection[Any]) -> None:
    """What stood there before stands there after."""
    db.execute("select fastq.enqueue('theirs', '{}', queue => 'theirs')")
    db.execute("insert into fastq.queue (name, paused) values ('theirs', true)")
    ran = bench("throughput", "--jobs", "500", "-p", "1", "--repeat", "1", "--json", "--dsn", dsn)
    assert ran.returncode == 0, ran.stderr
    assert left_behind(db) == (1, 0, 0, 1)


def test_people_get_the_ratio_and_the_limit(dsn: str) -> None:
    """A few lines on stdout, no progress where nobody watches."""
    ran = bench("throughput", "--jobs", "500", "-p", "1", "--repeat", "1", "--dsn", dsn)
    assert ran.returncode == 0, ran.stderr
    assert "of the ceiling" in ran.stdout
    assert "limit" in ran.stdout
    assert ran.stderr == ""


def test_a_second_bench_on_the_same_database_is_refused(dsn: str, db: psycopg.Connection[Any]) -> None:
    """Their queues are the same, so they would measure each other."""
    db.execute("select pg_advisory_lock(%s)", [0x66617374716265])
    ran = bench("latency", "--dsn", dsn)
    assert ran.returncode == 2
    assert "another `fastq bench` is running" in ran.stderr


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_bench_leaves_nothing_behind(
    dsn: str, db: psycopg.Connection[Any], signum: signal.Signals, code: int
) -> None:
    """INT or TERM in the middle: workers drained, jobs gone, queue gone."""
    running = subprocess.Popen(
        [*FASTQ, "latency", "--jobs", "100000", "-p", "1", "--dsn", dsn],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_flow(db)
        running.send_signal(signum)
        assert running.wait(60) == code
    finally:
        running.kill()
        running.wait()
    assert left_behind(db) == (0, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_a_killed_bench_takes_its_workers_along_and_the_next_one_cleans_up(
    dsn: str, db: psycopg.Connection[Any]
) -> None:
    """KILL in the middle: the workers drain by themselves; the jobs and the queue are removed by the next run."""
    command = [*FASTQ, "latency", "--jobs", "100000", "-p", "1", "--dsn", dsn]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_flow(db)
    finally:
        running.kill()
        running.wait()
    deadline = time.monotonic() + 30
    while left_behind(db)[2] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left_behind(db)[2] == 0
    assert bench("throughput", "--jobs", "500", "-p", "1", "--repeat", "1", "--dsn", dsn).returncode == 0
    assert left_behind(db) == (0, 0, 0, 0)


def test_a_database_without_schema_is_told_what_to_do(empty_dsn: str) -> None:
    """Exit code 4 and the command that helps."""
    ran = bench("throughput", "--dsn", empty_dsn)
    assert ran.returncode == 4
    assert "run `fastq migrate`" in ran.stderr


@pytest.mark.parametrize(
    "wrong", [["--jobs", "none"], ["--jobs", "0"], ["everything"], ["--payload-bytes", "1"], ["--no-such-option"]]
)
def test_a_wrong_option_is_one_sentence_and_exit_2(wrong: list[str]) -> None:
    """No traceback for the user's own mistake."""
    ran = bench(*wrong)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    assert len([line for line in ran.stderr.splitlines() if line.startswith("Error:")]) == 1
