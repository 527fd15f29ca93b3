"""How a run ends, or why there is none: one value, of which `fastq.ends.outcome` makes where the job goes."""

from __future__ import annotations

from dataclasses import dataclass

MAX_CRASHES = 3


@dataclass(frozen=True, slots=True)
class Succeeded:
    """It ended well; `result` is what the handler returned, as JSON."""

    result: str | None = None


@dataclass(frozen=True, slots=True)
class Stepped:
    """It goes on as another task."""

    task: str
    payload: str
    delay_s: float | None = None


@dataclass(frozen=True, slots=True)
class Raised:
    """It raised; `final`: no other run could help."""

    error: BaseException
    final: bool = False


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The transaction that completes it was undone between two statements of ours: not the handler's doing."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody had cancelled it before it ended, by raising `error`, or before it started."""

    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Expired:
    """It was not started in the time it had."""


@dataclass(frozen=True, slots=True)
class GivenBack:
    """It was not started, or what it did does not count."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """It cannot be run: something of its row cannot be decoded."""

    why: str


@dataclass(frozen=True, slots=True)
class Exhausted:
    """It may not be run once more: its worker died in its last attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Died:
    """Its worker died by `cause`, while it ran or while it waited in the worker's memory.

    `counts`: it is known that it ran, so the run was an attempt too; the worker that takes it next knows how many there
    may be. `max_crashes`: so many of them fail it.
    """

    ran: bool
    cause: str
    counts: bool = False
    max_crashes: int = MAX_CRASHES


End = Succeeded | Stepped | Raised | Interrupted | Cancelled | Expired | GivenBack | Unreadable | Exhausted | Died
