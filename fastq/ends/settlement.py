"""The values that pass between a decision about a claimed job and the statement that carries it out."""

from __future__ import annotations

from dataclasses import dataclass

from fastq.ends.meta import Meta
from fastq.states import Goes, JobState

NO_PAYLOAD = "null"
"""A settlement's payload where none shall be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedJob:
    """An unfinished job of a lease, without its payload: `ord` is its place in the batch, from 0.

    `cancelled`: somebody has cancelled it; known, as its `queue` is, where a dead worker's jobs are given back.
    `unreadable`: what of its row cannot be decoded, or "".
    """

    lease: int
    ord: int
    id: int
    task: str
    attempt: int
    meta: Meta | None = None
    cancelled: bool = False
    queue: str = ""
    unreadable: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """Where one claimed job goes, and as what.

    Attributes:
        lease, ord: the job, as its lease names it; `id` is for people.
        goes: the table it moves to.
        state: its reason in scheduled or its state in finished; "" in ready.
        delay_s: seconds to wait in scheduled, by the database's clock.
        attempt: how many attempts are now counted.
        meta: its rarer data (errors, crashes, headers), or None.
        keep_s: seconds to keep it in finished; None is for ever.
        task, payload: what it becomes in its next step, the payload as JSON; None leaves them as they are. NO_PAYLOAD
            keeps none in finished.
        result: what the handler returned, as JSON, or None.
        anew: whether it is kept under a new id, since another job has its own.
        ran_ms: how long its run took, or None: kept with it in finished.
        recalls: whether its meta gets the checkpoint that the database has, which its handler wrote on its own.

    """

    lease: int
    ord: int
    goes: Goes
    id: int = 0
    state: JobState | str = ""
    delay_s: float = 0.0
    attempt: int = 0
    meta: Meta | None = None
    keep_s: float | None = None
    task: str | None = None
    payload: str | None = None
    result: str | None = None
    anew: bool = False
    ran_ms: int | None = None
    recalls: bool = False
