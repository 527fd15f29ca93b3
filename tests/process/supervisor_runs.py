"""A supervisor with pretended children, observed through its log."""

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
