"""A supervisor whose numbers are changed while it runs, and its beginning."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from children import search_path
from supervisor_runs import Start

pytestmark = pytest.mark.process


@pytest.fixture
def userapp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write the module that the fake workers import as the user's app."""
    monkeypatch.setenv("PYTHONPATH", search_path(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    def write(text: str) -> None:
        (tmp_path / "userapp.py").write_text(text)

    return write


class TestReshape:
    """HUP, TTIN, TTOU, USR1."""

    def test_hup_replaces_one_by_one(self, start: Start, userapp: Callable[[str], None]) -> None:
        """Each old worker goes only when its successor is ready, and the successors have the new code."""
        userapp("VERSION = 1")
        running = start(worker={"app": "userapp"})
        assert [e["version"] for e in running.ready()] == [1, 1]
        userapp("VERSION = 2")
        running.send(signal.SIGHUP)
        running.expect_log("all workers are replaced")
        story = [e["event"] for e in running.events if e["event"] in ("ready", "left")]
        assert story == ["ready", "ready", "ready", "left", "ready", "left"]
        assert [e["version"] for e in running.said("ready")] == [1, 1, 2, 2]
        running.send(signal.SIGTERM)
        assert running.end() == 0

    def test_hup_with_broken_code_keeps_the_old_workers(self, start: Start, userapp: Callable[[str], None]) -> None:
        """A new worker that cannot start ends the roll; nothing that works is taken down."""
        userapp("VERSION = 1")
        running = start(worker={"app": "userapp"})
        running.ready()
        userapp("raise ImportError('broken')")
        running.send(signal.SIGHUP)
        running.expect_log("the old workers stay")
        assert not running.said("draining")
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert len(running.said("left")) == 2

    def test_old_worker_that_ignores_term_does_not_hold_up_a_roll(self, start: Start) -> None:
        """After the deadline it is killed, and the roll goes on."""
        limits = {"shutdown_timeout_s": 0.05, "grace_s": 0.05}
        running = start(worker={"on_term": "ignore"}, limits=limits)
        old = {e["from"] for e in running.ready()}
        running.send(signal.SIGHUP)
        running.expect_log("all workers are replaced")
        assert {e["from"] for e in running.said("ignored")} == old

    def test_term_during_a_roll_drains_old_and_new(self, start: Start) -> None:
        """A drain ends a roll, and reaches both workers of the seat."""
        running = start(processes=1, worker={"on_term": "ignore"}, limits={"echo_s": 0.0})
        (old,) = running.ready(1)
        running.send(signal.SIGHUP)
        new = running.expect("ready")
        running.expect("ignored")
        running.send(signal.SIGTERM)
        assert {running.expect("ignored")["from"] for _ in "12"} == {old["from"], new["from"]}
        running.send(signal.SIGTERM)
        assert running.end() == 1

    def test_ttin_ttou(self, start: Start) -> None:
        """TTIN adds a worker, TTOU drains the last one, and the first one always stays."""
        running = start(processes=1)
        first = running.ready(1)[0]
        running.send(signal.SIGTTIN)
        second = running.expect("ready")
        running.send(signal.SIGTTOU)
        assert running.expect("left")["from"] == second["from"]
        running.send(signal.SIGTTOU)
        running.expect_log("TTOU: 1 seats")
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert [e["from"] for e in running.said("left")] == [second["from"], first["from"]]

    def test_usr1_reaches_all_children_and_logs_the_seat_table(self, start: Start) -> None:
        """Every child shows what it does, the supervisor what it has."""
        running = start()
        pids = {e["from"] for e in running.ready()}
        running.send(signal.SIGUSR1)
        assert {running.expect("stacks")["from"] for _ in pids} == pids
        running.send(signal.SIGTERM)
        assert running.end() == 0
        text = "\n".join(e["text"] for e in running.said("log"))
        assert all(f"worker {pid}, cell" in text for pid in pids)

    def test_usr1_does_not_kill_a_starting_worker(self, start: Start) -> None:
        """A worker that hangs in an import shows its stack on stderr."""
        running = start(processes=1, worker={"first": "wait"})
        running.expect("started")
        running.send(signal.SIGUSR1)
        running.expect_log("seat 0: worker")
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert len(running.said("started")) == 1


class TestBirth:
    """What a child is when it starts, and what the parent must not become."""

    def test_parent_never_imports_psycopg(self, start: Start) -> None:
        """What the children import stays with them; the parent has no event loop and one thread."""
        running = start(worker={"imports": ["psycopg", "uvloop", "asyncio"]})
        running.ready()
        running.send(signal.SIGTERM)
        assert running.end() == 0
        (over,) = running.said("over")
        assert (over["modules"], over["threads"]) == ([], 1)

    def test_workers_are_pinned_in_turn(self, start: Start) -> None:
        """The seat decides the CPU."""
        cpus = sorted(os.sched_getaffinity(0))
        running = start(processes=3, cpus=cpus)
        ready = running.ready(3)
        assert sorted(e["cpu"] for e in ready) == sorted(cpus[i % len(cpus)] for i in range(3))
        assert all(e["affinity"] == [e["cpu"]] for e in ready)

    def test_exit_handlers_run_where_they_were_registered(self, start: Start) -> None:
        """A child runs its own exit handlers and none of its parent's."""
        running = start()
        pids = {e["from"] for e in running.ready()}
        running.send(signal.SIGTERM)
        running.end()
        assert {e["from"] for e in running.said("child exit handler")} == pids
        assert [e["from"] for e in running.said("parent exit handler")] == [running.process.pid]

    def test_children_have_names(self, start: Start) -> None:
        """`ps` and `top` tell the workers from the steward."""
        running = start(processes=1)
        (worker,) = running.ready(1)
        assert Path(f"/proc/{worker['from']}/comm").read_text() == "fastq worker 0\n"
        steward = running.said("steward ready")[0]["from"]
        assert Path(f"/proc/{steward}/comm").read_text() == "fastq steward\n"
