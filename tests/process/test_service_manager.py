"""A real supervisor under a service manager that is a socket."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
from fleet import Fleet

pytestmark = pytest.mark.process

PATIENCE_S = 30.0


def test_it_tells_of_its_life(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alive all the time; ready when jobs are run, again after a reload; stopping."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        alive = 0

        def until(word: str) -> None:
            nonlocal alive
            while not (said := manager.recv(4096).decode()).startswith(word):
                alive += said == "WATCHDOG=1"

        with Fleet(dsn) as fleet:
            until("READY=1")
            until("STATUS=1 of 1 workers run")
            until("WATCHDOG=1")
            fleet.process.send_signal(signal.SIGHUP)
            until("RELOADING=1")
            until("READY=1")
            fleet.process.terminate()
            until("STOPPING=1")
            assert fleet.process.wait(PATIENCE_S) == 0
        assert alive > 0
