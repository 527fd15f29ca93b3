"""/metrics and /health of a real fleet, asked as Prometheus and a probe would."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psycopg
import pytest

pytestmark = pytest.mark.e2e

JOBS = """
import fastq

app = fastq.App()

@app.task
async def fine(n: int) -> None: ...

@app.task(retries=0)
async def bad(n: int) -> None:
    raise ValueError(n)
"""
ANY = "127.0.0.1:0"
PATIENCE_S = 30.0
Db = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    monkeypatch.chdir(tmp_path)


class Host:
    """A running `fastq worker jobs:app`, known by its log."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.child = child

    def log(self) -> str:
        """Return everything that was logged so far."""
        return Path("log").read_text()

    def until(self, what: str, check: Callable[[], Any]) -> Any:
        """Return the first truthy value of `check()`."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := check()):
            assert self.child.poll() is None, self.log()
            assert time.monotonic() < deadline, f"waited for {what}\n{self.log()}"
            time.sleep(0.005)  # the pause of a poll with a deadline; nothing depends on its length
        return value

    def line(self, pattern: str) -> re.Match[str]:
        """Wait for a line of the log."""
        found: re.Match[str] = self.until(f"a line {pattern!r}", lambda: re.search(pattern, self.log()))
        return found

    def port(self, page: str) -> int:
        """Return the port of a page, which the log tells."""
        return int(self.line(rf"serving \S*(?:, )?{page}\S*(?:, \S+)? on 127\.0\.0\.1:(\d+)")[1])

    def metrics(self, port: int | None = None) -> dict[str, float]:
        """Return the samples of /metrics, by name and labels."""
        status, kind, body = get(self.port("/metrics") if port is None else port, "/metrics")
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        samples = (line.rsplit(" ", 1) for line in body.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def health(self) -> tuple[int, dict[str, Any]]:
        """Return the status and the answer of /health."""
        status, kind, body = get(self.port("/health"), "/health")
        assert kind == "application/json"
        return status, json.loads(body)


@contextmanager
def running(*args: str, processes: int = 1) -> Iterator[Host]:
    """Give a host with so many ready workers; it is stopped with its children in the end."""
    command = [sys.executable, "-m", "fastq", "worker", "jobs:app", "-p", str(processes), *args]
    with Path("log").open("w") as log:
        child = subprocess.Popen(command, stderr=log, text=True)
    host = Host(child)
    try:
        host.until("all workers to be ready", lambda: host.log().count("is ready") >= processes)
        yield host
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGQUIT)
        child.wait(PATIENCE_S)


def get(port: int, path: str) -> tuple[int, str, str]:
    """Return status, content type and body of a page."""
    try:
        answer = urlopen(f"http://127.0.0.1:{port}{path}", timeout=10)
    except HTTPError as exc:
        answer = exc
    with closing(answer):
        return answer.status, answer.headers["Content-Type"], answer.read().decode()


def total(samples: dict[str, float], counter: str) -> float:
    """Return a counter's sum over all cells."""
    return sum(value for name, value in samples.items() if name.startswith(f"fastq_jobs_{counter}_total{{"))


def fill(db: Db, task: str, jobs: int) -> None:
    """Enqueue jobs."""
    payloads = json.dumps([{"n": n} for n in range(jobs)])
    db.execute("select fastq.enqueue_many(%s, %s::json)", [f"jobs.{task}", payloads])


def pids(db: Db) -> list[int]:
    """Return the pids of the registered workers."""
    return [row[0] for row in db.execute("select pid from fastq.worker order by id")]


def empty(db: Db) -> bool:
    """Tell whether no job is left; one that was counted a moment ago may still wait for its acknowledgement."""
    return not db.execute("select from fastq.job limit 1").fetchall()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# -- metrics


def test_metrics_count_what_was_done(db: Db) -> None:
    """Two workers, a hundred jobs that end well and three that fail: the sums over the cells say so."""
    fill(db, "fine", 100)
    fill(db, "bad", 3)
    with running("--metrics-addr", ANY, processes=2) as host:
        host.until("all jobs to be counted", lambda: total(host.metrics(), "succeeded") == 100)
        host.until("the failures too", lambda: total(host.metrics(), "failed") == 3)
        host.until("the lead", lambda: host.metrics()["fastq_leader"] == 1)
        seen = host.metrics()
        assert total(seen, "claimed") == 103
        assert seen['fastq_workers{state="running"}'] == 2
        assert seen["fastq_workers_stopped"] == 0
        assert 0 <= seen["fastq_heartbeat_age_seconds"] < 30
        assert get(host.port("/metrics"), "/health")[0] == 404


def test_counters_do_not_go_down_when_a_worker_is_killed(db: Db) -> None:
    """Every scrape before, during and after a kill -9 shows at least what the one before it showed; none is lost."""
    fill(db, "fine", 50)
    with running("--metrics-addr", ANY) as host:
        scrapes: list[dict[str, float]] = []

        def succeeded() -> float:
            scrapes.append({k: v for k, v in host.metrics().items() if "_total{" in k})
            return total(scrapes[-1], "succeeded")

        host.until("the jobs to be counted and acknowledged", lambda: succeeded() == 50 and empty(db))
        (victim,) = pids(db)
        os.kill(victim, signal.SIGKILL)
        host.until("a new worker", lambda: succeeded() and pids(db) not in ([], [victim]))
        fill(db, "fine", 25)
        host.until("the new worker's jobs", lambda: succeeded() == 75)
    for earlier, later in pairwise(scrapes):
        assert all(later[name] >= value for name, value in earlier.items())


def test_what_a_worker_counted_before_it_left_in_good_order_is_kept(db: Db) -> None:
    """Workers that retire after ten jobs each, with nobody scraping meanwhile: all fifty are counted."""
    fill(db, "fine", 50)
    with running("--metrics-addr", ANY, "--max-jobs-per-child", "10") as host:
        host.until("all jobs to be done", lambda: empty(db) and pids(db))
        assert total(host.metrics(), "succeeded") == 50


def test_a_killed_steward_serves_again_on_its_port(db: Db) -> None:
    """The next steward takes the port over; the living workers' counters are there."""
    port = free_port()
    fill(db, "fine", 20)
    with running("--metrics-addr", f"127.0.0.1:{port}") as host:
        host.until("the jobs to be counted", lambda: total(host.metrics(), "succeeded") == 20)
        os.kill(int(host.line(r"steward (\d+) started")[1]), signal.SIGKILL)
        host.until("the next steward", lambda: host.log().count("serving /metrics on") == 2)
        assert total(host.metrics(port), "succeeded") == 20


# -- health


def test_one_address_for_both_pages(db: Db) -> None:
    """The same address for both is one server, and a healthy host answers 200."""
    address = f"127.0.0.1:{free_port()}"
    with running("--metrics-addr", address, "--health-addr", address) as host:
        host.line(f"serving /health, /metrics on {address}")
        host.until("health", lambda: host.health()[0] == 200)
        assert host.health()[1]["status"] == "ok"
        assert host.metrics()["fastq_up"] == 1


def test_health_names_a_stopped_worker(db: Db) -> None:
    """A worker that a signal stopped makes its host unwell until it goes on."""
    with running("--health-addr", ANY) as host:
        host.until("health", lambda: host.health()[0] == 200)
        (pid,) = pids(db)
        os.kill(pid, signal.SIGSTOP)
        host.until("sickness", lambda: host.health()[0] == 503)
        status, told = host.health()
        assert (status, told["status"]) == (503, "unwell")
        assert told["reasons"] == [f"worker pid {pid} is stopped by a signal"]
        os.kill(pid, signal.SIGCONT)
        host.until("health", lambda: host.health()[0] == 200)


def test_health_ends_with_the_lease_and_comes_back(db: Db) -> None:
    """While no heartbeat gets through, the host is unwell as soon as others may take its jobs; then it recovers."""
    with running("--health-addr", ANY, "--lease", "2") as host:
        host.until("health", lambda: host.health()[0] == 200)
        with db.transaction():
            db.execute("lock table fastq.worker in access exclusive mode")
            host.until("sickness", lambda: host.health()[0] == 503)
            assert re.match(r"the last heartbeat is \d+ s old, the lease is 2 s", host.health()[1]["reasons"][0])
        host.until("health", lambda: host.health()[0] == 200)


def test_a_worker_that_was_given_up_is_replaced_also_when_it_idles(db: Db) -> None:
    """A worker whose row is gone has nothing to claim, so it may never notice by itself."""
    with running("--health-addr", ANY, "--lease", "5") as host:
        host.until("health", lambda: host.health()[0] == 200)
        (pid,) = pids(db)
        db.execute("delete from fastq.worker")
        host.line(rf"worker \d+ \(pid {pid}\) was given up by the fleet")
        host.until("another worker", lambda: pids(db) not in ([], [pid]))
        host.until("health", lambda: host.health()[0] == 200)


# -- trouble


def test_a_busy_port_is_one_sentence_and_stops_nothing(db: Db) -> None:
    """The steward keeps house without its pages, says why once, and serves them when the port is free."""
    with socket.create_server(("127.0.0.1", 0)) as occupant:
        port = occupant.getsockname()[1]
        with running("--metrics-addr", f"127.0.0.1:{port}") as host:
            host.line(f"cannot listen on 127.0.0.1:{port}: Address already in use; the jobs run all the same")
            fill(db, "fine", 10)
            host.until("the jobs to be done", lambda: empty(db))
            occupant.close()
            host.line(f"serving /metrics on 127.0.0.1:{port}")
            assert total(host.metrics(port), "succeeded") == 10
            assert host.log().count("cannot listen") == 1
            assert len(re.findall(r"steward \d+ started", host.log())) == 1


def test_a_silent_client_does_not_hold_up_the_end(db: Db) -> None:
    """A connection that says nothing is hung up on when the host drains; exit 0."""
    with (
        running("--metrics-addr", ANY) as host,
        socket.create_connection(("127.0.0.1", host.port("/metrics"))) as silent,
    ):
        host.metrics()
        host.child.send_signal(signal.SIGTERM)
        assert host.child.wait(PATIENCE_S) == 0, host.log()
        assert silent.recv(1) == b""
