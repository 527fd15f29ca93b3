"""What is wrong, why it matters, and what to type: from facts to findings. Pure.

A finding has a code that never changes its meaning; docs/doctor.md explains each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from fastq.config import CONNECTIONS_MOST
from fastq.insights.facts import Facts, Holder
from fastq.insights.survey import WorkerSurvey
from fastq.protocol.schedules import ScheduleStanding
from fastq.sql.naming import schema

LATE_S = 600.0
"""A job that is ready for longer than this has been waiting for too long."""

HOST_CONNECTIONS = 5
"""Those of a steward."""

_DEAD_MOST = 100_000
_SWOLLEN_BYTES, _ROW_MOST_BYTES = 256 * 2**20, 64 * 2**10
_UPDATED = ("scheduled", "finished", "line", "unique_key")
"""The tables that are not truncated."""

_STANDS_STILL_S = 120.0
_CLOCK_MOST_S = 2.0
_NEARLY_FULL = 0.9
_TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")


class Level(StrEnum):
    """How bad it is: an error keeps jobs from being run or may lose them, a warning costs, a note is worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    code: str
    level: Level
    what: str
    why: str
    do: str


Check = Callable[[Facts], Iterator[Finding]]


def diagnose(facts: Facts) -> list[Finding]:
    """Return what is wrong, the worst first."""
    found = [finding for check in CHECKS for finding in check(facts)]
    order = list(Level)
    return sorted(found, key=lambda finding: (order.index(finding.level), finding.code))


def _schema(facts: Facts) -> Iterator[Finding]:
    if facts.other_functions:
        names = ", ".join(facts.other_functions[:5])
        why = "what is called does not do what this version of fastq expects"
        yield Finding("F101", Level.ERROR, f"the functions differ: {names}", why, "fastq migrate")
    if facts.unreadable:
        why = "commands that show it, and the workers, stop with `permission denied`"
        tables = ", ".join(facts.unreadable[:5])
        yield Finding("F102", Level.ERROR, f"this role may not read {tables}", why, "docs/roles.md has the grants")


def _server(facts: Facts) -> Iterator[Finding]:
    server = facts.server
    if server.standby:
        why = "nothing can be enqueued or run there"
        yield Finding("F110", Level.ERROR, "this server is a standby", why, "use the primary's address in the DSN")
    if not server.fsync:
        why = "a crash of the host loses jobs, or the whole database"
        yield Finding("F111", Level.ERROR, "fsync is off", why, "alter system set fsync = on; then restart the server")
    if server.synchronous_commit == "off":
        why = "a crash of the server loses jobs whose enqueue has returned"
        do = "alter database … set synchronous_commit = on"
        yield Finding("F112", Level.WARNING, "synchronous_commit is off", why, do)
    if not server.autovacuum:
        why = "scheduled and kept jobs leave dead rows that nobody removes"
        do = "alter system set autovacuum = on; select pg_reload_conf()"
        yield Finding("F113", Level.ERROR, "autovacuum is off", why, do)
    if server.compression != "l":
        why = "payloads are stored as they are: with lz4 they write up to six times less WAL"
        do = "use a server that was built with lz4 for the next database"
        yield Finding("F114", Level.NOTE, "packets are not compressed with lz4", why, do)
    if server.used >= _NEARLY_FULL * server.connections:
        why = "workers and applications that connect now are refused"
        what = f"{server.used} of {server.connections} connections are in use"
        yield Finding("F115", Level.WARNING, what, why, "raise max_connections, or use a pooler: docs/pooler.md")
    if away := facts.survey.fleet.away:
        what = f"shards {', '.join(map(str, away))} do not answer"
        why = "their jobs wait, and queues with limits stand still; the other shards go on"
        yield Finding("F118", Level.ERROR, what, why, "bring their node back, or its standby: docs/citus.md")
    if abs(facts.clock_s) > _CLOCK_MOST_S:
        ahead = "ahead of" if facts.clock_s > 0 else "behind"
        what = f"this host's clock is {abs(facts.clock_s):.0f} s {ahead} the server's"
        why = "times in logs do not match; the leases are not affected, because only the server's clock counts for them"
        yield Finding("F116", Level.NOTE, what, why, "synchronise the clocks, for example with chrony")
    hosts = {worker.host for worker in _alive(facts)}
    most = len(_alive(facts)) * (1 + CONNECTIONS_MOST) + HOST_CONNECTIONS * len(hosts)
    if most > server.connections:
        what = f"{len(_alive(facts))} workers may open {most:,} connections; the server has {server.connections:,}"
        why = "a worker has one, and up to six more while its handlers enqueue or use transactions"
        yield Finding("F117", Level.NOTE, what, why, "App(max_connections=…), more connections, or docs/pooler.md")


def _vacuum(facts: Facts) -> Iterator[Finding]:
    for holder in facts.holders:
        why = "dead rows cannot be removed while it lasts: tables grow, and looks at them take longer"
        yield Finding("F120", Level.WARNING, _held(holder), why, _end(holder))
    for table in facts.tables:
        if table.autovacuum_off:
            why = "its dead rows are not removed"
            do = f"alter table {schema()}.{table.name} reset (autovacuum_enabled)"
            yield Finding("F121", Level.WARNING, f"autovacuum is off for {schema()}.{table.name}", why, do)
        elif table.dead > max(_DEAD_MOST, 4 * table.live) and not table.name.startswith(
            ("ready_", "lease_", "packet_")
        ):
            why = "autovacuum does not keep up, or is held up"
            what = f"{schema()}.{table.name} has {table.dead:,} dead rows"
            yield Finding("F122", Level.WARNING, what, why, f"vacuum (verbose) {schema()}.{table.name}")


def _swollen(facts: Facts) -> Iterator[Finding]:
    for table in facts.tables:
        rows = max(1, table.live + table.dead)
        if table.bytes > _SWOLLEN_BYTES and table.bytes > _ROW_MOST_BYTES * rows and table.name in _UPDATED:
            what = f"{schema()}.{table.name} takes {table.bytes / 2**20:,.0f} MB for {rows:,} rows"
            why = "it was much larger, and keeps the space until it is written anew; looks at it take longer"
            yield Finding("F123", Level.NOTE, what, why, f"vacuum full {schema()}.{table.name}; it locks the table")


def _held(holder: Holder) -> str:
    age = "" if holder.age_s is None else f" for {holder.age_s / 60:.0f} min"
    of = f" of {holder.role}" * bool(holder.role) + f" ({holder.application})" * bool(holder.application)
    query = f": {' '.join(holder.query.split())}" if holder.query else ""
    return f"{holder.kind} {holder.name}{of} holds old rows{age}{query}"


def _end(holder: Holder) -> str:
    if holder.kind == "session":
        return f"select pg_terminate_backend({holder.name})"
    if holder.kind == "prepared transaction":
        return f"rollback prepared '{holder.name}'"
    return f"select pg_drop_replication_slot('{holder.name}')"


def _settings(facts: Facts) -> Iterator[Finding]:
    for of, setting in facts.settings:
        name, _, value = setting.partition("=")
        if name in _TIMEOUTS and value not in ("0", "0ms", "0s"):
            why = "fastq's own sessions set it to 0; handlers in ctx.transaction() have it"
            yield Finding("F130", Level.NOTE, f"{of} has {setting}", why, "nothing, if handlers are meant to have it")
        if name == "default_transaction_read_only" and value in ("on", "true", "yes", "1"):
            yield Finding(
                "F131", Level.ERROR, f"{of} has {setting}", "nothing can be enqueued or run", f"alter {of} reset {name}"
            )
    if facts.pooled:
        why = "it works; each transaction sets what it needs, and LISTEN needs an address past the pooler"
        do = "give workers --listen-dsn: docs/pooler.md"
        yield Finding("F132", Level.NOTE, "this connection goes through a pooler in transaction mode", why, do)


def _fleet(facts: Facts) -> Iterator[Finding]:
    seen, alive = facts.survey, _alive(facts)
    waiting = sum(queue.ready.jobs for queue in seen.queues if not queue.paused)
    if waiting and not alive:
        why = "nobody runs them"
        yield Finding(
            "F140", Level.ERROR, f"{_count(waiting)} waiting, and no worker runs", why, "fastq worker MODULE:app"
        )
    for worker in seen.workers:
        if worker.left_s <= 0:
            why = "it is stopped, or its host is gone: its jobs go to others as soon as a steward has reaped it"
            who = f"worker {worker.id} on {worker.host} (pid {worker.pid})"
            what = f"the lease of {who} ran out {-worker.left_s:.0f} s ago"
            yield Finding("F141", Level.WARNING, what, why, "docs/operations.md: A host is gone")
    if alive and seen.fleet.leader is None:
        why = "due jobs are not promoted, and schedules enqueue nothing"
        yield Finding(
            "F142", Level.ERROR, "workers run and none of their hosts leads", why, "look at the stewards' logs"
        )
    if alive and not facts.server.listeners:
        why = "new jobs are found by polling alone: up to a second later"
        yield Finding("F143", Level.WARNING, "no host listens for new jobs", why, "docs/pooler.md, or drop --no-listen")


def _hosts(facts: Facts) -> Iterator[Finding]:
    versions = sorted({str(worker.about["version"]) for worker in _alive(facts) if "version" in worker.about})
    if len(versions) > 1:
        why = "a deployment is under way, or has left some hosts out"
        what = f"workers of the versions {', '.join(versions)} run"
        yield Finding("F144", Level.NOTE, what, why, "fastq workers list shows where each runs")
    clocks = {worker.host: (worker.counters or {}).get("clock_ms", 0) for worker in _alive(facts)}
    for host, ms in sorted(clocks.items()):
        if isinstance(ms, int) and abs(ms) > _CLOCK_MOST_S * 1000 and host != facts.host:
            what = f"the clock of {host} is {abs(ms) / 1000:.0f} s {'ahead of' if ms > 0 else 'behind'} the server's"
            why = "times in its logs do not match, and jobs with expires= end too early or late there"
            yield Finding("F116", Level.NOTE, what, why, "synchronise the clocks, for example with chrony")


def _alive(facts: Facts) -> list[WorkerSurvey]:
    return [worker for worker in facts.survey.workers if worker.left_s > 0]


def _takes(worker: WorkerSurvey, queue: str) -> bool:
    """Tell whether a worker takes a queue, as far as it has told."""
    queues, without = worker.about.get("queues") or [queue], worker.about.get("exclude_queues") or []
    return queue in queues and queue not in without


def _untaken(facts: Facts) -> Iterator[Finding]:
    alive = _alive(facts)
    for queue in facts.survey.queues if alive else ():
        if queue.ready.jobs and not queue.paused and not any(_takes(worker, queue.name) for worker in alive):
            what = f"no worker takes the queue {queue.name}, which has {_count(queue.ready.jobs)}"
            why = "all of them have --queues without it, or --exclude-queues with it"
            yield Finding("F153", Level.WARNING, what, why, f"fastq worker … --queues {queue.name}")
    for name, task in facts.unknown if alive else ():
        what = f"jobs of {task} wait in the queue {name}, and no worker has that task"
        why = "it was renamed or removed, or the app that has it is not running"
        yield Finding("F154", Level.WARNING, what, why, f"start its app, or: fastq jobs delete --task {task}")


def _queues(facts: Facts) -> Iterator[Finding]:
    alive = _alive(facts)
    for queue in facts.survey.queues:
        if queue.paused and queue.ready.jobs:
            why = "they wait until the queue is resumed"
            what = f"the queue {queue.name} is paused and has {_count(queue.ready.jobs)}"
            yield Finding("F150", Level.WARNING, what, why, f"fastq queues resume {queue.name}")
        elif alive and queue.oldest_s is not None and queue.oldest_s > LATE_S:
            why = "no worker takes this queue or this task, a limit holds them back, or there are too few workers"
            what = f"a job of the queue {queue.name} has been ready for {queue.oldest_s / 60:.0f} min"
            do = f"fastq jobs list --state ready --queue {queue.name}; fastq queues list"
            yield Finding("F151", Level.WARNING, what, why, do)
    for limit in facts.limits:
        if limit.max_running == 0 or limit.rate == 0:
            why = "none of its jobs is ever claimed"
            name = "max_running" if limit.max_running == 0 else "rate"
            do = f"fastq queues set {limit.name} --{name.replace('_', '-')} …"
            yield Finding("F152", Level.WARNING, f"{name} of the queue {limit.name} is 0", why, do)


def _jobs(facts: Facts) -> Iterator[Finding]:
    if facts.failures:
        why = "they will not run again by themselves"
        what = f"{_count(facts.failures)} failed for good within the last hour"
        yield Finding("F160", Level.WARNING, what, why, "fastq jobs list --state failed")
    for row in facts.schedules:
        if row.standing in (ScheduleStanding.ORPHAN, ScheduleStanding.ENDED):
            ended = row.standing is ScheduleStanding.ENDED
            why = "its jobs are not enqueued any more" if ended else "its jobs are still enqueued, perhaps for nobody"
            what = f"no worker declares the schedule {row.name}"
            yield Finding("F161", Level.WARNING, what, why, f"fastq schedules remove {row.name}")
        elif row.standing is ScheduleStanding.PAUSED:
            why = "its jobs are not enqueued"
            yield Finding(
                "F162", Level.NOTE, f"the schedule {row.name} is paused", why, f"fastq schedules resume {row.name}"
            )
        elif (late_s := facts.server.now_s - row.next_at.timestamp()) > _STANDS_STILL_S and _alive(facts):
            why = "its expression or its time zone cannot be read, or nobody leads; the leader's log says which"
            what = f"the schedule {row.name} was due {late_s / 60:.0f} min ago and has enqueued nothing"
            do = f"fastq schedules list; set it anew, or: fastq schedules remove {row.name}"
            yield Finding("F163", Level.WARNING, what, why, do)


def _count(jobs: int) -> str:
    return f"{jobs:,} job{'s' * (jobs != 1)}"


CHECKS: tuple[Check, ...] = (_schema, _server, _vacuum, _swollen, _settings, _fleet, _hosts, _queues, _untaken, _jobs)
