"""What PostgreSQL's errors mean: which say that another try is in vain, and what users are told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from typing import Any

import psycopg
from psycopg import AsyncConnection, errors
from psycopg.pq import TransactionStatus

from fastq.ends.failure import message_of
from fastq.errors import DatabaseUnreachable, FastqError, SchemaError

BY_THE_SERVER = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.NotSupportedError,
    errors.StatementTooComplex,
    errors.ProgramLimitExceeded,
    errors.RaiseException,
    errors.AssertFailure,
    errors.TriggeredActionException,
    errors.WithCheckOptionViolation,
    errors.InternalError_,
)
"""A value that PostgreSQL does not take: out of range, against a constraint or a trigger, too deep or too large."""

BY_THE_ENCODER = (TypeError, ValueError, OverflowError, RecursionError)
"""A value that cannot be put into a statement at all: JSON nested too deeply, a lone surrogate."""


def is_refusal(exc: BaseException) -> bool:
    """Tell whether an error is one of what was to be written, and of nothing else."""
    return isinstance(exc, (*BY_THE_SERVER, *BY_THE_ENCODER))


def reason_of(exc: BaseException) -> str:
    """Return one line that holds none of a statement's parameters, nor the function that it was in."""
    said = exc.diag.message_primary if isinstance(exc, psycopg.Error) else None
    return said or message_of(exc).strip().partition("\n")[0]


_UNDOING = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.IdleInTransactionSessionTimeout,
    errors.TransactionTimeout,
    DatabaseUnreachable,
)


def is_undone(exc: BaseException) -> bool:
    """Tell whether an error only says that a transaction did not come through, and may well the next time.

    It could not be serialized, was the victim of a deadlock, or its session was ended.
    """
    return isinstance(exc, _UNDOING) and not is_refusal(exc)


def apart(conn: AsyncConnection[Any]) -> AbstractAsyncContextManager[Any]:
    """Keep a statement that is refused from spoiling the transaction that it stands in, if there is one."""
    return nullcontext() if conn.info.transaction_status is TransactionStatus.IDLE else conn.transaction()


@contextmanager
def as_our_errors() -> Iterator[None]:
    """Turn what psycopg raises into fastq's errors, in one line."""
    try:
        yield
    except psycopg.Error as exc:
        reason = reason_of(exc)
        if exc.sqlstate in {"23505", "55006"}:  # the unique key is another job's, the name another schedule's
            raise FastqError(reason) from None
        if exc.sqlstate in {"3F000", "42P01", "42703", "42883"}:
            raise SchemaError(f"{reason}: run `fastq migrate`") from None
        if isinstance(exc, psycopg.OperationalError) and (exc.sqlstate or "08").startswith(("08", "57P")):
            raise DatabaseUnreachable(f"the connection broke ({reason}): look again whether it was done") from None
        raise FastqError(f"PostgreSQL refused: {reason}") from None
