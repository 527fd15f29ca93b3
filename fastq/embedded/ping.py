"""Asks a server whether it takes connections, as PQping does, without libpq: one startup message."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 2.0
PROTOCOL = 3 << 16
PARAMETERS = b"user\0postgres\0database\0postgres\0application_name\0fastq ping\0\0"
STARTUP = struct.pack("!ii", 8 + len(PARAMETERS), PROTOCOL) + PARAMETERS
TERMINATE = b"X\0\0\0\4"
CANNOT_CONNECT_NOW = "57P03"  # starting up, shutting down, recovering


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back: `version` if the server let us in, `message` if it did not."""

    ready: bool
    version: str | None = None
    message: str | None = None


def ping(path: Path) -> Answer:
    """Connect to the socket at `path` and report; never raises for a server that is absent or unwell."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect(str(path))
            connection.sendall(STARTUP)
            return read_answer(connection)
        except OSError as error:
            return Answer(ready=False, message=f"{path}: {error.strerror or error}")


def read_answer(connection: socket.socket) -> Answer:
    """Read as far as the server's version, or its refusal."""
    authenticated = False
    for kind, body in messages(connection):
        if kind == b"E":
            return refusal(body)
        if kind == b"R":
            authenticated = True
            if body != b"\0\0\0\0":
                break  # it wants a password: no trust, but certainly up
        if kind == b"S" and body.startswith(b"server_version\0"):
            connection.sendall(TERMINATE)
            # Packagers add to the number: "15.18 (Debian 15.18-0+deb12u1)".
            return Answer(ready=True, version=body.split(b"\0")[1].decode(errors="replace").split(" ")[0])
    return Answer(ready=authenticated, message=None if authenticated else "the server closed the connection")


def messages(connection: socket.socket) -> Iterator[tuple[bytes, bytes]]:
    """Yield (type, body) of each message until the server closes."""
    with connection.makefile("rb") as stream:
        while len(head := stream.read(5)) == 5:
            yield head[:1], stream.read(struct.unpack("!i", head[1:])[0] - 4)


def refusal(body: bytes) -> Answer:
    """Read an ErrorResponse. All but "cannot connect now" come from a server that is up."""
    fields = {f[:1]: f[1:].decode(errors="replace") for f in body.split(b"\0") if f}
    return Answer(ready=fields.get(b"C") != CANNOT_CONNECT_NOW, message=fields.get(b"M"))
