"""What an error during an enqueue says about the jobs: nothing was enqueued, or nobody can know. Pure."""

from __future__ import annotations

import re

import psycopg

from fastq import sql
from fastq.errors import DatabaseUnreachable, EnqueueOutcomeUnknown, FastqError, SchemaError
from fastq.postgres.away import WRONG_NODE
from fastq.protocol.refusal import reason_of
from fastq.protocol.shards import CHANGED


class ShardsChanged(FastqError):
    """Jobs with unique keys or in ordered groups would have gone where nobody looks for such any more."""


class NodeAway(FastqError):
    """The node of a shard could not be reached: nothing was enqueued there."""


_UNREACHED = re.compile(
    r"could not connect|connection refused|timeout expired|no route to host|not on this node|moved to", re.IGNORECASE
)
READ_ONLY = "25006"
_LOCKED = "55P03"
_STARTING = "57P03"
_BROKEN = ("08", "57P")
"""Connection exceptions, and a server that shuts down: it may have committed before it said so."""

_NO_SCHEMA = {"3F000", "42P01", "42703", "42883"}


def of(exc: psycopg.Error, *, committing: bool = True) -> FastqError:
    """Return the error that tells a producer what became of its jobs.

    `committing` is False where no commit can have been sent. The message holds PostgreSQL's primary text only: its
    context would repeat the jobs' arguments.
    """
    reason, state = reason_of(exc), exc.sqlstate
    if sql.on_cluster() and (state == WRONG_NODE or (state or "").startswith("08")):
        told = f"{reason} {exc.diag.message_detail or ''} {exc}"
        if _UNREACHED.search(told):
            return NodeAway(f"the node of this shard cannot be reached ({reason}); nothing was enqueued")
        return EnqueueOutcomeUnknown(
            f"a node of the cluster went away during an enqueue ({reason}): the jobs may be there"
        )
    if state in {READ_ONLY, _STARTING}:
        return DatabaseUnreachable(f"PostgreSQL takes no jobs now: {reason}")
    if isinstance(exc, psycopg.OperationalError) and (state is None or state.startswith(_BROKEN)):
        if committing:
            return EnqueueOutcomeUnknown(
                f"the connection broke during an enqueue: the jobs may or may not be there ({reason})"
            )
        return DatabaseUnreachable(f"the connection broke before the commit ({reason}); nothing was enqueued")
    if state == CHANGED:
        return ShardsChanged("the number of shards has just changed; nothing was enqueued: try again")
    if state == _LOCKED:
        return FastqError(
            "another transaction is taking the same unique key and does not end; nothing was enqueued: try again"
        )
    if state in _NO_SCHEMA:
        return SchemaError(f"{reason}: run `fastq migrate`; nothing was enqueued")
    return FastqError(f"PostgreSQL refused the jobs: {reason}; nothing was enqueued")


def given_up(exc: DatabaseUnreachable) -> DatabaseUnreachable:
    """Return the error for jobs that could not be sent, in one line."""
    told = " ".join(str(exc).split())
    return DatabaseUnreachable(told if told.endswith("nothing was enqueued") else f"{told}; nothing was enqueued")
