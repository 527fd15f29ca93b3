"""What is kept of a failed run: a record of its error, bounded, and such as PostgreSQL's json takes. Pure."""

from __future__ import annotations

import os
import platform
import traceback
from datetime import UTC, datetime
from typing import Any

MOST_TRACEBACK = 4000
MOST_MESSAGE = 1000
MOST_TYPE = 200

Record = dict[str, Any]


def clip(text: str, most: int) -> str:
    """Cut a text and drop what PostgreSQL's json cannot hold."""
    text = text.replace("\0", "").encode("utf-8", "replace").decode()
    return text if len(text) <= most else "…" + text[-most:]


def record(kind: str, message: str, attempt: int, lines: str = "") -> Record:
    """Return a record, as it stands in a job's `errors`."""
    return {
        "type": clip(kind, MOST_TYPE),
        "message": clip(message, MOST_MESSAGE),
        "traceback": clip(lines, MOST_TRACEBACK),
        "attempt": attempt,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def message_of(error: BaseException) -> str:
    """Return what an exception says, or its type where it says nothing."""
    return error_record(error, 0)["message"] or type(error).__qualname__


def error_record(error: BaseException, attempt: int) -> Record:
    """Return what is kept of an exception, also of one that cannot say what it is; and of where it was raised."""
    try:
        message = str(error)
        lines = traceback.format_exception(error) if error.__traceback__ else []
    except BaseException as broken:  # noqa: BLE001 - an exception that cannot be told is still a failed run
        message, lines = f"its own text cannot be made: {type(broken).__qualname__}", []
    found = record(type(error).__qualname__, message, attempt, "".join(lines))
    return {**found, "module": clip(type(error).__module__, MOST_TYPE), "worker": f"{platform.node()}:{os.getpid()}"}
