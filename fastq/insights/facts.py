"""What `doctor` looks at: one look at the server, the tables, the settings and the fleet."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from psycopg import Connection

from fastq.insights.survey import COUNT_MOST, QUEUES_MOST, Survey, survey
from fastq.protocol.asking import carry_out_sync
from fastq.protocol.limits import QueueSettings, list_settings
from fastq.protocol.looks import look_sync
from fastq.protocol.schedules import ScheduleRow, list_schedules
from fastq.protocol.tasks import SEEN_EVERY_S
from fastq.schema import migrator
from fastq.sql import on_cluster, statement

OLD_S = 300.0
"""A transaction of this age holds vacuum up noticeably."""

FAILURES_MOST = 10_000


class Server(NamedTuple):
    """The server's settings and what uses it."""

    version: int
    autovacuum: bool
    fsync: bool
    synchronous_commit: str
    connections: int
    used: int
    listeners: int
    now_s: float
    standby: bool
    compression: str


class Holder(NamedTuple):
    """Somebody who keeps dead rows from being removed."""

    kind: str
    name: str
    application: str
    role: str
    age_s: float | None
    query: str


class TableFacts(NamedTuple):
    """One table of fastq."""

    name: str
    live: int
    dead: int
    bytes: int
    autovacuum_off: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that findings are made of."""

    survey: Survey
    server: Server
    holders: Sequence[Holder] = ()
    tables: Sequence[TableFacts] = ()
    settings: Sequence[tuple[str, str]] = ()
    unreadable: Sequence[str] = ()
    schedules: Sequence[ScheduleRow] = ()
    limits: Sequence[QueueSettings] = ()
    other_functions: Sequence[str] = ()
    failures: int = 0
    unknown: Sequence[tuple[str, str]] = ()
    """Queues and tasks of which a job is ready and that no worker has told of."""

    pooled: bool = False
    clock_s: float = 0.0
    """How far this host's clock is ahead of the server's, in seconds."""
    host: str = field(default_factory=socket.gethostname)


def look(conn: Connection[Any], *, count_most: int = COUNT_MOST) -> Facts:
    """Look at everything; the schema has to fit. `count_most`: as of `survey`."""
    began = time.time()
    server = Server(*_rows(conn, "survey_server")[0])
    clock_s = (began + time.time()) / 2 - server.now_s
    seen = survey(conn, count_most=count_most)
    return Facts(
        survey=seen,
        server=server,
        holders=[Holder(*row) for row in _rows(conn, "survey_horizon", old_s=OLD_S)],
        tables=[TableFacts(*row) for row in _rows(conn, "survey_tables")],
        settings=[(of, setting) for of, setting in _rows(conn, "survey_settings")],
        unreadable=[row[0] for row in _rows(conn, "survey_rights")],
        schedules=[*carry_out_sync(conn, list_schedules())],
        limits=list_settings(conn),
        other_functions=migrator.other_functions(conn),
        unknown=_unknown(conn, seen.fleet.shards),
        failures=_rows(conn, "survey_failures", cap=FAILURES_MOST)[0][0],
        pooled=getattr(conn, "session").pooled if hasattr(conn, "session") else False,  # noqa: B009 - any connection
        clock_s=clock_s,
    )


def _unknown(conn: Connection[Any], shards: int) -> list[tuple[str, str]]:
    if on_cluster():  # the tasks are told of on the coordinator alone
        return []
    params = {"queues": QUEUES_MOST, "since_s": 3 * SEEN_EVERY_S}
    rows = look_sync(conn, "survey_unknown_tasks", params, range(shards), segments=True)
    return sorted({(queue, task) for _, queue, task in rows})


def _rows(conn: Connection[Any], name: str, **params: Any) -> list[tuple[Any, ...]]:
    return conn.execute(statement(name), params).fetchall()
