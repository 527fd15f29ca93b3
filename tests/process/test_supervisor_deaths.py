"""What a supervisor does when its children die."""

from __future__ import annotations

import os
import signal

import pytest
from supervisor_runs import Start

pytestmark = pytest.mark.process


class TestDeath:
    """What dies, and what follows."""

    def test_kill_nine_of_a_worker_marks_its_cell_dead_and_rings_the_steward(self, start: Start) -> None:
        """The steward finds pid and raw wait status in the cell of a worker that was killed."""
        running = start()
        victim, other = running.ready()
        os.kill(victim["from"], signal.SIGKILL)
        dead = running.expect("dead", pid=victim["from"])
        assert (dead["cell"], dead["status"]) == (victim["cell"], signal.SIGKILL)
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert other["from"] in [e["from"] for e in running.said("left")]

    def test_killed_worker_is_replaced_at_once_in_another_cell(self, start: Start) -> None:
        """The successor does not wait for the steward to clean the dead one's cell."""
        running = start()
        victim = running.ready()[0]
        os.kill(running.said("steward ready")[0]["from"], signal.SIGSTOP)
        running.expect_log("was stopped")
        os.kill(victim["from"], signal.SIGKILL)
        successor = running.expect("ready")
        assert successor["cell"] != victim["cell"]
        assert not running.said("dead")

    def test_crash_looping_seat_does_not_stop_others(self, start: Start) -> None:
        """One seat dies again and again; the other one keeps its worker, and the supervisor lives."""
        policy = {"max_strikes": 2, "base_s": 60.0, "cap_s": 60.0}
        running = start(cpus=[0, 1], worker={"crash_on_cpu": 1}, policy=policy)
        running.expect_log("seat 1 is in a crash loop")
        running.from_the_start().expect("ready", cpu=0)
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert len([e for e in running.said("started") if e["cpu"] == 0]) == 1

    def test_all_seats_crash_looping_exits_6(self, start: Start) -> None:
        """When no seat can keep a worker, the supervisor gives up, steward last."""
        running = start(worker={"first": "crash"}, policy={"base_s": 0.01})
        assert running.end() == 6
        assert running.said("steward left")
        assert len(running.said("started")) >= 10

    def test_error_at_start_is_the_exit_code(self, start: Start) -> None:
        """When no worker ever got ready and all say 4, 4 is more use than 6."""
        assert start(worker={"first": "4"}, policy={"base_s": 0.01}).end() == 4

    def test_exception_prints_a_traceback_and_exits_1(self, start: Start) -> None:
        """What a worker raises is on stderr, and counts as a crash."""
        running = start(worker={"first": "raise"}, policy={"base_s": 0.01})
        assert running.end() == 6
        assert "RuntimeError: the fake raises" in running.errors.read_text()
        assert {e["status"] for e in running.said("dead")} <= {1 << 8}

    def test_entry_that_cannot_be_imported_is_a_crash(self, start: Start) -> None:
        """An import error is the child's, with its traceback; the parent lives on to say 6."""
        running = start(worker_path="no_such_module:main", policy={"base_s": 0.01})
        assert running.end() == 6
        assert "No module named 'no_such_module'" in running.errors.read_text()

    def test_exit_0_without_a_freed_cell_is_a_death(self, start: Start) -> None:
        """A worker that says all is well but left its cell may have left leases: the steward looks."""
        running = start(processes=1, worker={"first": "0"})
        assert running.expect("dead")["status"] == 0
        running.expect_log("crash loop")

    def test_recycled_worker_is_replaced_at_once(self, start: Start) -> None:
        """Workers that end cleanly on purpose are replaced without backoff, as often as they like."""
        running = start(processes=1, worker={"first": "done"}, policy={"base_s": 60.0})
        for _ in range(8):
            running.expect("left")
        running.send(signal.SIGTERM)
        assert running.end() == 0

    def test_burst_returns_0_when_every_seat_is_finished(self, start: Start) -> None:
        """In burst mode a clean exit finishes the seat; after the last one the steward goes too."""
        running = start(burst=True, worker={"first": "done"})
        assert running.end() == 0
        assert len(running.said("started")) == 2
        assert running.said("steward left")

    def test_killed_steward_is_replaced(self, start: Start) -> None:
        """A dead steward is followed by another one; workers do not notice."""
        running = start()
        running.ready()
        os.kill(running.said("steward ready")[0]["from"], signal.SIGKILL)
        running.expect("steward ready")
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert len(running.said("started")) == 2

    def test_stopped_child_is_marked(self, start: Start) -> None:
        """A stopped worker shows in its cell until it goes on, so that nobody heartbeats it."""
        running = start(processes=1)
        pid = running.ready(1)[0]["from"]
        for signum, word, mark in ((signal.SIGSTOP, "was stopped", 1), (signal.SIGCONT, "goes on", 0)):
            os.kill(pid, signum)
            running.expect_log(word)
            running.send(signal.SIGUSR1)
            assert running.expect("board")["cells"] == [["RUNNING", mark, pid]]

    @pytest.mark.parametrize(("no_pdeathsig", "why"), [(False, None), (True, "lifeline")])
    def test_kill_nine_of_the_supervisor_drains_children(
        self, start: Start, no_pdeathsig: bool, why: str | None
    ) -> None:
        """Its children notice by signal, and by the lifeline alone where there is no such signal, and drain."""
        running = start(worker={"no_pdeathsig": no_pdeathsig})
        running.ready()
        running.send(signal.SIGKILL)
        assert running.end() == -signal.SIGKILL
        assert len(running.said("left")) == 2
        assert why is None or {e["why"] for e in running.said("draining")} == {why}

    def test_bug_in_the_supervisor_leaves_no_child(self, start: Start) -> None:
        """Whatever is raised in the loop, all children are killed and waited for before it gets out."""
        running = start(explode=True)
        assert running.end() == 1
        assert "RuntimeError: a bug" in running.errors.read_text()
        assert not running.said("left")
