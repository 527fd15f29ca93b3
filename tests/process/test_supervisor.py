"""The supervisor with real processes: what each signal does, and what each kind of death leads to."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from children import search_path

pytestmark = pytest.mark.process

FAKES = Path(__file__).with_name("supervisor_fakes.py")
PATIENCE_S = 15.0
Event = dict
DEFAULTS = {
    "processes": 2,
    "cpus": [],
    "burst": False,
    "explode": False,
    "worker": {},
    "worker_path": "supervisor_fakes:worker",
    "steward": {},
    "policy": {},
    "limits": {},
}


class Running:
    """A supervisor under test: its process, and everything that its family said so far."""

    def __init__(self, options: dict, stderr: Path) -> None:
        command = [sys.executable, str(FAKES), json.dumps(DEFAULTS | options)]
        with stderr.open("w") as errors:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
        self.errors = stderr
        self.events: list[Event] = []
        self._rest = b""
        self._read = 0

    def expect(self, event: str, **facts: object) -> Event:
        """Return the next event of that kind with these facts, reading on from the last one that was expected."""
        for seen in self._on():
            if seen["event"] == event and all(seen.get(name) == value for name, value in facts.items()):
                return seen
        raise AssertionError(f"no {event} {facts} among {self.events}; stderr: {self.errors.read_text()}")

    def expect_log(self, text: str) -> Event:
        """Return the next log line that contains the text."""
        while True:
            seen = self.expect("log")
            if text in seen["text"]:
                return seen

    def ready(self, count: int = 2) -> list[Event]:
        """Wait until so many workers and the steward are ready; return the workers' events."""
        seen = []
        while len([e for e in seen if e["event"] == "ready"]) < count or not self.said("steward ready"):
            seen.append(next(self._on(), None))
            assert seen[-1] is not None, f"{self.events}; stderr: {self.errors.read_text()}"
        return [e for e in seen if e["event"] == "ready"]

    def from_the_start(self) -> Running:
        """Expect what may have come before the last thing that was expected."""
        self._read = 0
        return self

    def said(self, event: str) -> list[Event]:
        """Return all events of that kind so far."""
        return [seen for seen in self.events if seen["event"] == event]

    def send(self, signum: signal.Signals) -> None:
        """Signal the supervisor alone."""
        self.process.send_signal(signum)

    def end(self) -> int:
        """Read until no process is left that could write; return the exit code."""
        for _ in self._on():
            pass
        assert self._rest == b""
        return self.process.wait(PATIENCE_S)

    def clean_up(self) -> None:
        """Leave nothing behind, whatever the test did."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def _on(self) -> Iterator[Event]:
        """Yield events in order, waiting for more until the end of stdout; too long a wait fails the test."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            while self._read < len(self.events):
                self._read += 1
                yield self.events[self._read - 1]
            if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"nothing more after {self.events}; stderr: {self.errors.read_text()}")
            chunk = os.read(self.process.stdout.fileno(), 65536)
            if not chunk:
                return
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self.events += [json.loads(line) for line in lines]


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start supervisors; end them with the test."""
    started: list[Running] = []

    def begin(**options: object) -> Running:
        started.append(Running(options, tmp_path / f"stderr{len(started)}"))
        return started[-1]

    yield begin
    for running in started:
        running.clean_up()


@pytest.fixture
def userapp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write the module that the fake workers import as the user's app."""
    monkeypatch.setenv("PYTHONPATH", search_path(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    def write(text: str) -> None:
        (tmp_path / "userapp.py").write_text(text)

    return write


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
