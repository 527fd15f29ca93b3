"""What an executor may start at the moment."""

from __future__ import annotations

from enum import Enum


class Mode(Enum):
    """What an executor may start.

    OPEN ◄──► APART ◄──► DOUBTED ──► CLOSING ──► FORKED      each may be skipped; nothing comes back from the last two
    """

    OPEN = "any job"
    APART = "one suspect, and nothing beside it"
    DOUBTED = "nothing: this process stood still, and others may have its jobs by now"
    CLOSING = "nothing: it is about to end"
    FORKED = "nothing: it is the child of a handler's fork, and no second worker"
