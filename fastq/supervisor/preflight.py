"""The preflight: run a check in a child and get its answer, so that the parent need not import what it checks.

The check is a function of its config that returns a dict (JSON). What it raises of fastq's own errors is raised
again in the parent; anything else it dies of becomes `PreflightError`, its traceback being on stderr already.
"""

from __future__ import annotations

import json
import os
import select
import signal
from contextlib import suppress

from fastq import errors
from fastq.errors import FastqError
from fastq.host.child import ChildEntry
from fastq.supervisor.exits import Exit
from fastq.supervisor.spawn import Birth, fork, load

_LOOK_MS = 100
_END = b"\n"


class PreflightError(FastqError):
    """The check before the start died without an answer."""


def preflight(entry: ChildEntry[object]) -> dict[str, object]:
    """Run `entry` in a child; return the dict that it returned, or raise what it raised. Leaves no zombie."""
    read_fd, write_fd = os.pipe()
    pid = 0
    try:
        pid = fork(lambda: _answer(entry, write_fd), Birth(name="fastq preflight", close_fds=(read_fd,)))
        os.close(write_fd)
        write_fd = -1
        text, end = _listen(pid, read_fd)
        pid = 0 if end else pid
        end = end or Exit(os.waitpid(pid, 0)[1])
        pid = 0
    finally:
        _clean_up(pid, (read_fd, write_fd))
    if not text.endswith(_END):
        raise PreflightError(f"the check {entry.path} died without an answer: {end}")
    return _understand(json.loads(text))


def _answer(entry: ChildEntry[object], write_fd: int) -> int:
    try:
        reply: dict[str, object] = {"ok": load(entry.path)(entry.config)}
    except FastqError as error:
        reply = {"error": {"type": type(error).__name__, "message": str(error), "exit_code": error.exit_code}}
    text = json.dumps(reply).encode() + _END
    while text:
        text = text[os.write(write_fd, text) :]
    return 0


def _listen(pid: int, read_fd: int) -> tuple[bytes, Exit | None]:
    """Read one line. The child's end is watched too: a daemon that it left behind may hold the pipe open."""
    text, end = b"", None
    poll = select.poll()
    poll.register(read_fd, select.POLLIN)
    while not text.endswith(_END):
        if poll.poll(0 if end else _LOOK_MS):
            chunk = os.read(read_fd, 65536)
            text += chunk
            if not chunk:
                break
        elif end:
            break
        else:
            gone, status = os.waitpid(pid, os.WNOHANG)
            end = Exit(status) if gone else None
    return text, end


def _clean_up(pid: int, fds: tuple[int, ...]) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)
    if pid:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _understand(reply: dict[str, dict[str, object]]) -> dict[str, object]:
    if "ok" in reply:
        return reply["ok"]
    error = reply["error"]
    kind = getattr(errors, str(error["type"]), None)
    raised = kind(error["message"]) if isinstance(kind, type) and issubclass(kind, FastqError) else None
    if raised is None:  # a subclass that this process does not know: keep its message and its exit code
        raised = FastqError(f"{error['type']}: {error['message']}")
        raised.exit_code = int(str(error["exit_code"]))
    raise raised
