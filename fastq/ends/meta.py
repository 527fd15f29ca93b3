"""What is rare about a job: the JSON object of the column `meta`, in which a stranger may have written anything.

Known by name are: headers (an object), unique (the key and until when it is held), ordered (what its line does when it
failed for good), errors (the records of its failed runs), crashes (how many workers died running it), interrupted (how
often its transaction was rolled back without its doing), checkpoint (any value), retries and timeout (how often it is
tried again, and after how many seconds a run is cancelled, in place of what its task says), expires (for how many
seconds after its enqueue it may be begun), unreadable (why it cannot be run).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastq.config import DELAY_MOST_S, RETRIES_MOST

Meta = dict[str, Any]


def _is_unique(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and type(value[0]) is str and type(value[1]) in (str, int, float)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_retries(value: Any) -> bool:
    return type(value) is int and 0 <= value <= RETRIES_MOST


def _is_timeout(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= DELAY_MOST_S


_KINDS: dict[str, Callable[[Any], bool]] = {
    "headers": lambda value: isinstance(value, dict),
    "unique": _is_unique,
    "ordered": lambda value: value in ("skip", "block"),
    "errors": lambda value: isinstance(value, list) and all(isinstance(record, dict) for record in value),
    "crashes": _is_count,
    "interrupted": _is_count,
    "retries": _is_retries,
    "timeout": _is_timeout,
    "expires": _is_timeout,
    "unreadable": lambda value: isinstance(value, str),
}


def read(value: Any) -> Meta | None:
    """Return what was decoded from the column as all others may take it: without what is not of its kind."""
    if not isinstance(value, dict):
        return None
    wrong = [name for name, fits in _KINDS.items() if name in value and not fits(value[name])]
    return {name: inner for name, inner in value.items() if name not in wrong} if wrong else value
