"""The supervisor with real processes: what each signal does, and what each kind of death leads to."""

from __future__ import annotations

import os
import signal

import pytest
from supervisor_runs import Start

pytestmark = pytest.mark.process


class TestDrain:
    """TERM and INT."""

    def test_term_drains_all_workers(self, start: Start) -> None:
        """TERM lets every worker drain, the steward after them, and the exit code is 0."""
        running = start()
        running.ready()
        running.send(signal.SIGTERM)
        assert running.end() == 0
        order = [e["event"] for e in running.events if e["event"] in ("left", "steward left")]
        assert order == ["left", "left", "steward left"]

    def test_ctrl_c_drains(self, start: Start) -> None:
        """The INT that a terminal sends to the whole group is ignored by children and drains."""
        running = start()
        running.ready()
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.end() == 0
        assert [e["why"] for e in running.said("draining")] == ["term", "term"]

    def test_second_term_forces(self, start: Start) -> None:
        """A second TERM sends QUIT to workers that are still draining, and the exit code is 1."""
        running = start(worker={"on_term": "ignore"}, limits={"echo_s": 0.0})
        running.ready()
        running.send(signal.SIGTERM)
        running.expect("ignored")
        running.expect("ignored")
        running.send(signal.SIGTERM)
        assert running.end() == 1
        assert len(running.said("quit")) == 2

    def test_echo_of_a_signal_does_not_force(self, start: Start) -> None:
        """A wrapper passes on what the terminal sent to the group: the same Ctrl-C, heard twice, still drains."""
        running = start(
            worker={"on_term": "ignore"}, limits={"echo_s": 60.0, "shutdown_timeout_s": 0.1, "grace_s": 0.1}
        )
        running.ready()
        running.send(signal.SIGINT)
        running.expect("ignored")
        running.expect("ignored")
        running.send(signal.SIGINT)
        running.send(signal.SIGTERM)
        assert running.end() == 5
        assert not running.said("quit")

    def test_quit_stops_at_once(self, start: Start) -> None:
        """QUIT reaches all children without a drain, and the exit code is 1."""
        running = start()
        running.ready()
        running.send(signal.SIGQUIT)
        assert running.end() == 1
        assert len(running.said("quit")) == 2
        assert not running.said("draining")

    def test_worker_that_ignores_quit_is_killed(self, start: Start) -> None:
        """A stopped worker cannot act on QUIT: after a second it is killed."""
        running = start(processes=1, limits={"force_s": 0.1})
        (worker,) = running.ready(1)
        os.kill(worker["from"], signal.SIGSTOP)
        running.expect_log("was stopped")
        running.send(signal.SIGQUIT)
        assert running.end() == 1

    def test_worker_that_ignores_term_is_killed_after_the_deadline_exit_5(self, start: Start) -> None:
        """A worker that does not drain in time is killed, its cell given to the steward, the exit code 5."""
        running = start(worker={"on_term": "ignore"}, limits={"shutdown_timeout_s": 0.1, "grace_s": 0.1})
        running.ready()
        running.send(signal.SIGTERM)
        assert running.end() == 5
        assert [e["status"] for e in running.said("dead")] == [signal.SIGKILL, signal.SIGKILL]
        assert running.said("steward left")

    def test_steward_that_ignores_term_is_killed_after_the_deadline_exit_5(self, start: Start) -> None:
        """A steward that does not leave does not keep the supervisor."""
        running = start(steward={"on_term": "ignore"}, limits={"steward_s": 0.1})
        running.ready()
        running.send(signal.SIGTERM)
        assert running.end() == 5

    def test_a_stopped_steward_leaves_too(self, start: Start) -> None:
        """It is sent on its way, so that it hears the TERM."""
        running = start()
        running.ready()
        steward = running.said("steward ready")[0]["from"]
        os.kill(steward, signal.SIGSTOP)
        running.expect_log("was stopped")
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert running.said("steward left")

    @pytest.mark.parametrize("code", [5, 1])
    def test_exit_code_of_a_drain_is_the_worst_of_its_workers(self, start: Start, code: int) -> None:
        """5 says that a worker overran its deadline, 1 that one crashed while draining."""
        running = start(worker={"on_term": str(code)})
        running.ready()
        running.send(signal.SIGTERM)
        assert running.end() == code

    def test_term_while_workers_are_starting_is_a_clean_drain(self, start: Start) -> None:
        """A worker that dies of TERM before it could handle it has lost nothing: the exit code is 0."""
        running = start(worker={"first": "wait"})
        running.expect("started")
        running.expect("started")
        running.send(signal.SIGTERM)
        assert running.end() == 0

    def test_stopped_worker_drains_on_term(self, start: Start) -> None:
        """A stopped worker is continued, so that it can drain."""
        running = start(processes=1)
        (worker,) = running.ready(1)
        os.kill(worker["from"], signal.SIGSTOP)
        running.expect_log("was stopped")
        running.send(signal.SIGTERM)
        assert running.end() == 0

    def test_steward_that_dies_during_a_drain_is_replaced(self, start: Start) -> None:
        """While workers drain, somebody has to heartbeat them."""
        running = start(worker={"on_term": "ignore"})
        running.ready()
        running.send(signal.SIGTERM)
        running.expect("ignored")
        running.expect("ignored")
        os.kill(running.said("steward ready")[0]["from"], signal.SIGKILL)
        running.expect("steward ready")
        running.send(signal.SIGQUIT)
        assert running.end() == 1
