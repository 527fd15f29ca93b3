"""What a service manager is told of this process, by sd_notify: ready, reloading, stopping, and that it is alive.

Without NOTIFY_SOCKET in the environment nothing is told. See sd_notify(3): a datagram of lines to a Unix socket.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress
from math import inf


class Systemd:
    """Tells each thing once, and that this process is alive as often as the service manager wants."""

    def __init__(self, environ: MutableMapping[str, str] | None = None) -> None:
        env = os.environ if environ is None else environ
        address = env.pop("NOTIFY_SOCKET", "")  # it is ours: what handlers start has no business with it
        usec, pid = env.pop("WATCHDOG_USEC", ""), env.pop("WATCHDOG_PID", "")
        mine = not pid or pid == str(os.getpid())
        self._socket = _connected(address)
        self.every_s = int(usec) / 2e6 if self._socket and mine and usec.isdigit() and int(usec) else inf
        """So often it has to be told that this process is alive."""

        self._alive_at = 0.0
        self._told = ""
        self._status = ""

    def is_alive(self, now: float) -> None:
        """Say so, if it is time."""
        if now >= self._alive_at and self.every_s < inf:
            self._alive_at = now + self.every_s / 2
            self._tell("WATCHDOG=1")

    def is_ready(self, status: str) -> None:
        """Say that jobs are run, or run again after a reload; and how many workers do, in words."""
        if self._told != "ready":
            self._told = "ready"
            self._tell("READY=1")
        if status != self._status:
            self._status = status
            self._tell(f"STATUS={status}")

    def reloads(self) -> None:
        """Say that workers are being replaced; `is_ready` says when they are."""
        self._told = "reloading"
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stops(self) -> None:
        """Say that this is the end."""
        if self._told != "stopping":
            self._told = "stopping"
            self._tell("STOPPING=1", "STATUS=draining")

    def _tell(self, *lines: str) -> None:
        if self._socket is not None:
            with suppress(OSError):  # whoever wanted to know is gone
                self._socket.send("\n".join(lines).encode())

    def close(self) -> None:
        """Tell nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _connected(address: str) -> socket.socket | None:
    """Return a socket that leads to the service manager; None where there is none."""
    if not address.startswith(("/", "@")):
        return None
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0))
    try:
        found.connect("\0" + address[1:] if address.startswith("@") else address)
    except OSError:
        found.close()
        return None
    return found
