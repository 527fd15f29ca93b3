"""The readiness check: what each of the server's first words means."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest

from fastq.embedded.ping import Answer, ping, read_answer

pytestmark = pytest.mark.unit

AUTH_OK = b"R" + struct.pack("!ii", 8, 0)
AUTH_SCRAM = b"R" + struct.pack("!ii", 8, 10)


def message(kind: bytes, body: bytes) -> bytes:
    """Frame a message."""
    return kind + struct.pack("!i", len(body) + 4) + body


def answer_to(data: bytes) -> Answer:
    """Return how we read a server that says `data` and closes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        return read_answer(ours)


def error(code: bytes) -> bytes:
    """Frame an ErrorResponse."""
    return message(b"E", b"SFATAL\0VFATAL\0C" + code + b"\0Mno way\0\0")


def test_accepted() -> None:
    """Authentication OK is ready, and the version is the number without the packager's addition."""
    data = AUTH_OK + message(b"S", b"TimeZone\0UTC\0") + message(b"S", b"server_version\x0015.18 (Debian 15.18)\0")
    assert answer_to(data) == Answer(ready=True, version="15.18")


@pytest.mark.parametrize(
    ("data", "ready"),
    [
        (error(b"57P03"), False),  # starting up
        (error(b"53300"), True),  # too many clients: up, and busy
        (AUTH_SCRAM, True),  # wants a password: up
        (b"", False),
        (b"R\0\0", False),
    ],
)
def test_readiness(data: bytes, ready: bool) -> None:
    """Only "cannot connect now" and silence mean not ready, as for PQping."""
    assert answer_to(data).ready is ready


def test_absent_server(tmp_path: Path) -> None:
    """No socket is an answer, not an exception."""
    look = ping(tmp_path / "none")
    assert not look.ready
    assert look.message.endswith("No such file or directory")
