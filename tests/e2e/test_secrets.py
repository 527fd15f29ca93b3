"""A password in a DSN reaches no log and no terminal, also when the connection fails."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from psycopg import conninfo

pytestmark = pytest.mark.e2e

SECRET = "hunter2"
JOBS = """
import fastq

app = fastq.App()

@app.task
async def fine(n: int) -> None: ...
"""
COMMANDS = {
    "worker": ["worker", "jobs:app", "-p", "1"],
    "worker json": ["worker", "jobs:app", "-p", "1", "--log-format", "json"],
    "enqueue": ["enqueue", "jobs:app", "fine", "--args", '{"n": 1}'],
    "status": ["status"],
    "migrate": ["migrate"],
}
WRONG = {
    "port": (f"postgresql://u:{SECRET}@127.0.0.1:1/db", 3),
    "keywords": (f"host=127.0.0.1 port=1 user=u password={SECRET}", 3),
    "host": (f"postgresql://u:{SECRET}@nowhere.invalid/db", 3),
    "scheme": (f"postgres//u:{SECRET}@127.0.0.1/db", 2),
    "quote": (f"host=127.0.0.1 password='{SECRET}", 2),
    "parameter": (f"postgresql://u:{SECRET}@127.0.0.1:1/db?nonsense=1", 2),
}


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    monkeypatch.chdir(tmp_path)


def say(command: str, dsn: str) -> tuple[int, str]:
    """Run a command to its end with FASTQ_DSN; return its exit code and everything it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "fastq", *COMMANDS[command]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        env={**os.environ, "FASTQ_DSN": dsn},
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("wrong", ["port", "scheme"])
def test_a_failed_connection_does_not_tell_the_password(command: str, wrong: str) -> None:
    """Whatever the command, a connection error and a DSN that cannot be parsed are said without it."""
    dsn, code = WRONG[wrong]
    got, text = say(command, dsn)
    assert (got, SECRET in text) == (code, False), text
    assert "Traceback" not in text


@pytest.mark.parametrize("wrong", [name for name in WRONG if name not in ("port", "scheme")])
def test_no_kind_of_wrong_dsn_tells_the_password(wrong: str) -> None:
    """Unknown hosts and parameters, keywords, an open quote."""
    dsn, code = WRONG[wrong]
    got, text = say("status", dsn)
    assert (got, SECRET in text) == (code, False), text


def test_an_unescaped_password_is_not_told_as_a_host() -> None:
    """postgresql://u:p@hunter2@host: the password's second half is no host to repeat."""
    _, text = say("status", f"postgresql://u:p@{SECRET}@127.0.0.1:1/db")
    assert SECRET not in text


class Cable:
    """A TCP port that leads to the test's server until it is cut."""

    def __init__(self, dsn: str) -> None:
        self._to = conninfo.conninfo_to_dict(dsn)
        self.secret = str(self._to.get("password") or SECRET)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def dsn(self) -> str:
        """The server's DSN through this port, with a password, whether the server asks for one or not."""
        host, port = self._server.getsockname()
        way = {"host": host, "port": port, "hostaddr": None, "password": self.secret, "sslmode": "disable"}
        return conninfo.make_conninfo(**{**self._to, **way})

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                if self._cut:
                    near.close()
                    continue
                far = self._connect()
                self._ends += [near, far]
                threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = str(self._to.get("host", "127.0.0.1")), int(str(self._to.get("port", 5432)))
        if host.startswith("/"):
            far = socket.socket(socket.AF_UNIX)
            far.connect(f"{host}/.s.PGSQL.{port}")
            return far
        return socket.create_connection((host, port))

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError, ValueError):
            while True:
                for end in select.select([near, far], [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        return near.shutdown(socket.SHUT_RDWR)
                    (far if end is near else near).sendall(data)

    def cut(self) -> None:
        """Break all connections and let nobody in any more."""
        self._cut = True
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give everything back."""
        self.cut()
        self._server.close()
        for end in self._ends:
            end.close()


@pytest.fixture
def cable(dsn: str) -> Iterator[Cable]:
    """A cable to the test's database."""
    laid = Cable(dsn)
    yield laid
    laid.close()


def test_a_fleet_that_loses_its_database_does_not_tell_the_password(cable: Cable) -> None:
    """Worker, steward and listener say what is wrong, again and again, with stacks and all, but not that."""
    env = {**os.environ, "FASTQ_DSN": cable.dsn}
    with Path("log").open("w") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "fastq", "worker", "jobs:app", "-p", "1", "--shutdown-timeout", "1"],
            stderr=log,
            env=env,
        )
    try:
        wait_line(child, "is ready")
        wait_line(child, "steward .* started")
        cable.cut()
        wait_line(child, r"steward +\d+ not listening, workers poll meanwhile: ")
        wait_line(child, r"link +\d+ database trouble \(1\), trying again: ", count=3)
        child.send_signal(signal.SIGUSR1)
        wait_line(child, "runs \\(lease/job\\): none")
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(60)
    assert cable.secret not in Path("log").read_text()


def wait_line(child: subprocess.Popen[bytes], pattern: str, *, count: int = 1) -> None:
    """Wait until so many lines of the log match."""
    deadline = time.monotonic() + 30
    while len(re.findall(pattern, text := Path("log").read_text())) < count:
        assert child.poll() is None, text
        assert time.monotonic() < deadline, f"waited for {pattern}\n{text}"
        time.sleep(0.005)  # the pause of a poll with a deadline; nothing depends on its length
