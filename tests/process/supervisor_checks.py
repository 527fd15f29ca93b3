"""Checks for test_supervisor_preflight.py: each is what a preflight child may run."""

from __future__ import annotations

import os
import signal
import sys

from fastq.errors import DatabaseUnreachable, FastqError


class OwnError(FastqError):
    """An error of fastq's family that the parent does not know by name."""

    exit_code = 4


def fine(config: dict) -> dict:
    """Answer with the config and with what the child has imported."""
    import psycopg  # what a parent must not do

    return {"config": config, "psycopg": psycopg.__name__, "pid": os.getpid()}


def large(config: dict) -> dict:
    """Answer with more than a pipe holds."""
    return {"text": "x" * config["bytes"]}


def unreachable(config: dict) -> dict:
    """Raise an error that the parent knows."""
    raise DatabaseUnreachable("no server at " + config["host"])


def unknown(config: dict) -> dict:
    """Raise an error that the parent does not know."""
    raise OwnError("migrate first")


def killed(config: dict) -> dict:
    """Die by a signal."""
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def leaves(config: dict) -> dict:
    """Exit without an answer."""
    sys.exit(7)


def _daemon(release_fd: int) -> None:
    if os.fork() == 0:
        signal.alarm(30)  # whatever becomes of the test
        os.read(release_fd, 1)
        os._exit(0)


def with_daemon(config: dict) -> dict:
    """Leave a process behind that holds the answer's pipe open until the test lets go, then answer."""
    _daemon(config["release_fd"])
    return {"done": True}


def killed_with_daemon(config: dict) -> dict:
    """Leave such a process behind and die without an answer."""
    _daemon(config["release_fd"])
    return killed(config)
