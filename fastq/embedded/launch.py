"""Starts the keeper process and reads what it reports."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import fastq.errors
from fastq.embedded import log
from fastq.embedded.binaries import Binaries
from fastq.embedded.paths import Paths
from fastq.errors import EmbeddedError


class Outcome(Enum):
    """How a launch ended."""

    READY = "ready"
    BUSY = "busy"
    ERROR = "error"
    DIED = "died"  # killed or stopped before it could say anything
    SILENT = "silent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The outcome, and for ERROR and DIED the reason."""

    outcome: Outcome
    text: str = ""


def launch(paths: Paths, binaries: Binaries, *, deadline: float) -> Report:
    """Start a keeper and wait for its report, at most until `deadline` (then SILENT; the keeper goes on)."""
    if not sys.executable:
        raise EmbeddedError("sys.executable is empty: this Python cannot start a server, set FASTQ_DSN")
    log.trim(paths.log)
    with os.fdopen(log.append_to(paths.log), "ab", buffering=0) as output:
        # -S: no site, hence no .pth files: half the start-up time. -P: no imports from the current directory.
        child = subprocess.Popen(
            [sys.executable, "-S", "-P", "-m", "fastq.embedded", "keep", str(paths.base), "--detach"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            env=environment(binaries),
            cwd="/",
            start_new_session=True,  # a Ctrl-C at the terminal is for us, not for the server
        )
    with child:  # the direct child forks and ends at once, so the wait at the end of the block is short
        assert child.stdout is not None, "it was opened as a pipe"
        text = read_all(child.stdout.fileno(), deadline=deadline)
        if text is None and child.poll() is None:
            child.kill()
    return parse(text, paths)


def environment(binaries: Binaries) -> dict[str, str]:
    """Return the keeper's environment: it finds this very fastq, and the binaries that we found.

    The standard library comes first: if fastq lies in site-packages, a stray `asyncio` or `dataclasses`
    backport beside it must not be taken for the real one.
    """
    package_parent = Path(fastq.errors.__file__).resolve().parents[1]
    search = [os.path.dirname(os.__file__), str(package_parent)]  # noqa: PTH120 - may lie in a zip file
    if inherited := os.environ.get("PYTHONPATH"):
        search.append(inherited)
    kept = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith("PYTHON") or k in ("PYTHONHOME", "PYTHONDONTWRITEBYTECODE")
    }
    return kept | {"PYTHONPATH": os.pathsep.join(search), "FASTQ_PG_BIN": str(binaries.directory)}


def read_all(fd: int, *, deadline: float) -> str | None:
    """Read until the other end is closed; None if that does not happen in time."""
    parts: list[bytes] = []
    poller = select.poll()  # not select(): its descriptors end at 1023
    poller.register(fd, select.POLLIN | select.POLLHUP)
    while poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
        part = os.read(fd, 65536)
        if not part:
            return b"".join(parts).decode(errors="replace")
        parts.append(part)
    return None


def parse(text: str | None, paths: Paths) -> Report:
    """Return what the keeper's words mean; for a failure, quote the log."""
    if text is None:
        return Report(outcome=Outcome.SILENT)
    word, _, reason = text.partition("\n")
    if word in ("ready", "busy"):
        return Report(outcome=Outcome(word))
    outcome = Outcome.ERROR if word == "error" else Outcome.DIED
    reason = reason.strip() or "the keeper process was killed, or could not run"
    return Report(outcome=outcome, text=f"{reason}\nThe end of {paths.log}:\n{log.tail(paths.log)}")
