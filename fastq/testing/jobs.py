"""What stands in the database: the jobs that were enqueued and have not succeeded yet."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, cast

import msgspec
import orjson
import psycopg
from psycopg import pq

from fastq import codec
from fastq.app import App
from fastq.config import find_dsn
from fastq.errors import ArgumentError, UsageError
from fastq.job import Job
from fastq.postgres import database
from fastq.task import Task
from fastq.testing.statements import statement

_TOLD = 20


def enqueued(what: Task[Any, Any] | App, /, *, conn: Any = None, **args: Any) -> list[Job]:
    """Return the jobs of a task, or of all tasks of an app's database, in the order in which they were enqueued.

    Jobs that wait, run, or have failed are there; those that succeeded are gone, unless their task keeps them.

    Args:
        what: the task, or the app.
        conn: the connection to look with: one of psycopg's, synchronous or not, or one that holds it, as Django's and
            SQLAlchemy's do. It sees what its transaction has enqueued. Without one, what is committed is seen.
        args: only jobs with these arguments; others of theirs don't matter. Values are compared as the handler gets
            them, defaults included.

    Raises:
        ArgumentError: the task has no such parameter.
        UsageError: the connection cannot be used now: it is busy, or its transaction has failed.

    """
    task = what if isinstance(what, Task) else None
    if task is not None and not task.arguments.open_ended and (unknown := args.keys() - task.arguments.names):
        raise ArgumentError(f"{task.name} has no parameter {', '.join(map(repr, sorted(unknown)))}")
    with ExitStack() as stack:
        if conn is None:
            app = cast("App", what.app) if isinstance(what, Task) else what
            conn = stack.enter_context(database.connect(database.reachable(find_dsn(app.dsn)), "fastq testing"))
        jobs = _list(_libpq(conn), task.name if task else None)
    return [job for job in jobs if _fits(task, job.args, args)]


def assert_enqueued(what: Task[Any, Any] | App, /, *, conn: Any = None, **args: Any) -> Job:
    """Return the first job that `enqueued` finds.

    Raises:
        AssertionError: there is none; the message says what is there instead.

    """
    if found := enqueued(what, conn=conn, **args):
        return found[0]
    wanted = _call(what.name if isinstance(what, Task) else "any task", args)
    others = enqueued(what.app if isinstance(what, Task) else what, conn=conn)  # type: ignore[arg-type]
    there = "\n".join(f"  job {job.id} {_call(job.task, job.args)}, {job.state}" for job in others[:_TOLD])
    hint = "" if conn else " (with conn=…, the jobs of an open transaction are seen too)"
    raise AssertionError(f"no job is {wanted}; there are:\n{there}" if there else f"no job is enqueued{hint}")


def _call(name: str, args: dict[str, Any]) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in args.items()):.200})"


def _fits(task: Task[Any, Any] | None, payload: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Tell whether a payload has the wanted values: as JSON, or as the handler gets them."""
    if not wanted:
        return True
    try:
        opened = task.arguments.open(payload) if task else payload
    except msgspec.ValidationError:
        opened = payload
    return all(name in opened and _same(opened[name], payload.get(name), value) for name, value in wanted.items())


def _same(opened: Any, written: Any, value: Any) -> bool:
    if opened == value:
        return True
    try:
        return bool(orjson.loads(codec.dumps(value)) == written)
    except ArgumentError:
        return False


# -- connections of any kind


def _libpq(conn: Any) -> pq.abc.PGconn:
    """Return libpq's connection inside psycopg's, inside Django's or SQLAlchemy's."""
    while not isinstance(conn, psycopg.Connection | psycopg.AsyncConnection):
        for name in ("driver_connection", "sync_connection", "sync_session", "connection"):
            if (inner := getattr(conn, name, None)) is not None:
                conn = inner() if callable(inner) else inner
                break
        else:
            raise UsageError(f"conn is {conn!r:.100}: it must be an open connection of psycopg's, or hold one")
    if conn.info.transaction_status == pq.TransactionStatus.ACTIVE:
        raise UsageError("the connection is in use: await what it is doing first")
    return conn.pgconn


def _list(pgconn: pq.abc.PGconn, task: str | None) -> list[Job]:
    """Ask libpq itself: so it makes no difference whose connection it is, and no transaction is begun."""
    answer = pgconn.exec_params(statement("list_jobs").encode(), [task.encode() if task else None])
    if answer.status != pq.ExecStatus.TUPLES_OK:
        raise UsageError(f"the jobs cannot be listed: {answer.error_message.decode(errors='replace').strip()}")
    cells = [answer.get_value(row, 0) or b"" for row in range(answer.ntuples)]
    return [msgspec.json.decode(cell, type=Job) for cell in cells]
