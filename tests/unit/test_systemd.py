"""What a service manager is told."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from fastq.supervisor.systemd import Systemd

pytestmark = pytest.mark.unit


@pytest.fixture(params=["a file", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """Give a service manager's socket, and its address as it stands in the environment."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    found.setblocking(False)
    abstract = f"fastq-{os.getpid()}-{tmp_path.name}"
    address, written = (str(tmp_path / "n"),) * 2 if request.param == "a file" else ("\0" + abstract, "@" + abstract)
    found.bind(address)
    yield found, written
    found.close()


def heard(manager: socket.socket) -> list[str]:
    """Return all that it was told."""
    said = []
    while True:
        try:
            said.append(manager.recv(4096).decode())
        except BlockingIOError:
            return said


def test_a_life(manager: tuple[socket.socket, str]) -> None:
    """Each thing once; nothing of it is left for what handlers start."""
    found, address = manager
    env = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    systemd = Systemd(env)
    assert env == {"HOME": "/"}
    assert systemd.every_s == 5.0
    for now in (0.0, 1.0, 2.5, 5.0):
        systemd.is_alive(now)
    assert heard(found) == ["WATCHDOG=1"] * 3
    systemd.is_ready("1 of 2 workers run")
    systemd.is_ready("1 of 2 workers run")
    systemd.is_ready("2 of 2 workers run")
    assert heard(found) == ["READY=1", "STATUS=1 of 2 workers run", "STATUS=2 of 2 workers run"]
    systemd.reloads()
    systemd.is_ready("2 of 2 workers run")
    reloading, ready = heard(found)
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert ready == "READY=1"
    systemd.stops()
    systemd.stops()
    assert heard(found) == ["STOPPING=1\nSTATUS=draining"]
    found.close()
    systemd.is_alive(100.0)
    systemd.close()


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "/there/is/none", "WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "vsock:1:2"},
    ],
)
def test_nobody_wants_to_know(env: dict[str, str]) -> None:
    """Nothing is told, and nothing breaks."""
    systemd = Systemd(dict(env))
    assert systemd.every_s == inf
    systemd.is_alive(0.0)
    systemd.is_ready("x")
    systemd.reloads()
    systemd.stops()
    systemd.close()


def test_a_watchdog_of_another_process(manager: tuple[socket.socket, str]) -> None:
    """It is not ours to feed."""
    found, address = manager
    systemd = Systemd({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"})
    systemd.is_alive(0.0)
    assert (systemd.every_s, heard(found)) == (inf, [])
    systemd.close()
