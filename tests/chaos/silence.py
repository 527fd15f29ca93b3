"""The silence after: everything is healed, what was acknowledged runs, everybody leaves; what remains then."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from chaos.fleet import Fleet, processes_of
from chaos.verdict import Remains
from fastq.states import ExitCode

if TYPE_CHECKING:
    from chaos.stage import Stage

LEAVES_S = 30.0
CLOSES_S = 10.0
OURS = """task like 'chaos.jobs.%' and task not in ('chaos.jobs.tick', 'chaos.jobs.stranger')
  and payload::text not like '%tag%'"""
"""Jobs of the producers: the clock goes on, and what strangers have put may wait for ever."""

TO_DO = f"""
select (select count(*) from fastq.ready where {OURS}) + (select count(*) from fastq.scheduled where {OURS})
  + (select count(*) from fastq.packet p where segment = 4
     and not exists (select from fastq.ready r where r.packet = p.pos)
     and not exists (select from fastq.lease l where l.packet = p.pos)
     and not exists (select from fastq.scheduled s where s.packet = p.pos))
  + (select count(*) from fastq.lease l join fastq.worker w on w.shard = l.shard and w.id = l.worker
     where w.name not like 'elsewhere %' and l.id between 1 and 1::int8 << 46),
  array(select pid from fastq.worker)
"""
TABLES = ("packet", "ready", "scheduled", "lease", "worker", "progress", "unique_key", "leader")
PACKETS = " where segment = 4"
"""Those of the ring go with their segment, when it is full."""

STRANGERS_MAY_KEEP = ("packet", "lease", "worker", "progress", "unique_key")
"""They insert rows there themselves, with no work behind them."""


def settle(stage: Stage) -> None:
    """Heal everything, let everything acknowledged run, and let everybody leave in good order."""
    stage.heal()
    for producer in stage.producers:
        if producer.poll() is None:
            producer.send_signal(signal.SIGTERM)
    stage.wait("the producers to end", lambda: all(p.poll() is not None for p in stage.producers))
    if stage.crowd is not None:
        stage.troubles += stage.crowd.stop()
    stage.wait("all jobs to be done", partial(_is_drained, stage))
    if stage.crowd is not None:
        stage.troubles += stage.crowd.settle(stage)
    _dismiss(stage)
    for do in stage.at_last:
        do()


def _is_drained(stage: Stage) -> bool:
    """Tell whether nothing is left to do, and every worker row belongs to a living worker."""
    stage.show()
    with suppress(psycopg.OperationalError), stage.admin() as conn:
        row = conn.execute(TO_DO.encode()).fetchone()
        assert row is not None
        living = {pid for fleet in stage.fleets for pid in fleet.workers()}
        return row[0] == 0 and (stage.crowd is not None or set(row[1]) <= living)
    return False


def _dismiss(stage: Stage) -> None:
    """Let every fleet drain, and say so if it does not, or not well."""
    for fleet in stage.fleets:
        if fleet.alive:
            fleet.term()
    for fleet in stage.seats.values():
        if stage.wait(f"{fleet.name} to leave", partial(_has_left, fleet), LEAVES_S):
            code = fleet.process.returncode
            if code and not (stage.crowd is not None and code == ExitCode.OVERRAN):  # its leases may be strangers' ones
                stage.troubles.append(f"{fleet.name} left with exit code {code} at the end")
    stage.wait("orphans to leave", lambda: not any(fleet.processes() for fleet in stage.fleets), LEAVES_S)


def _has_left(fleet: Fleet) -> bool:
    return not fleet.alive


# -- what remains


def remains(stage: Stage) -> Remains:
    """Look for what was left behind, while the database still runs."""
    stage.ledger.read()
    left = Remains(connections=_connections(stage))
    _rows(stage, left)
    for fleet in stage.fleets:
        left.processes += [f"{process} of {fleet.name}" for process in fleet.processes()]
    for producer in stage.producers:
        left.processes += [f"{process} of a producer" for process in processes_of(producer.pid)]
    left.memory = sorted(shared_memory() - stage.shared_before)
    return left


def _rows(stage: Stage, left: Remains) -> None:
    """Count what lies in fastq's tables."""
    tables = [t for t in TABLES if stage.crowd is None or t not in STRANGERS_MAY_KEEP]
    with stage.admin() as conn:
        for table in tables:
            which = {"ready": f" where {OURS}", "scheduled": f" where {OURS}", "packet": PACKETS}.get(table, "")
            count = conn.execute(f"select count(*) from fastq.{table}{which}".encode()).fetchone()
            left.rows[table] = count[0] if count else -1
        for table in set(tables) & {"lease", "worker", "progress"}:
            rows = conn.execute(f"select to_jsonb(t) - 'batch' from fastq.{table} t limit 5".encode()).fetchall()
            left.details += [f"{table} {row[0]}" for row in rows]
        left.details += [str(row[0]) for row in conn.execute("select now()")] if left.details else []
        rings = conn.execute("select count(*) from fastq.ring where shard = 0").fetchone()
        left.rows["missing ring"] = 1 - (rings[0] if rings else 0)
        left.failed = conn.execute(
            f"select (payload->>'number')::int8, meta::text from fastq.finished where {OURS} order by 1".encode()
        ).fetchall()
        left.effects = dict(conn.execute("select number, count(*) from effect group by 1").fetchall())


def _connections(stage: Stage) -> list[str]:
    """Return the connections that nobody has closed, some seconds after everybody left."""
    query = (
        b"select application_name || ' ' || coalesce(state, '') || ' ' || left(query, 60) from pg_stat_activity"
        b" where application_name like 'fastq%' and pid <> pg_backend_pid()"
    )
    deadline = time.monotonic() + CLOSES_S
    while True:
        with stage.admin() as conn:
            found = [row[0] for row in conn.execute(query).fetchall()]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def rows_of(stage: Stage, number: int) -> list[str]:
    """Return what the database still knows of a job."""
    query = "select id, state, attempt, worker, meta::text from fastq.job where payload::text like %s"
    try:
        with stage.admin() as conn:
            return [f"row {row}" for row in conn.execute(query, [f'%"number":{number}}}%']).fetchall()]
    except psycopg.Error as exc:
        return [f"fastq.job cannot be read: {exc}"]


def shared_memory() -> set[str]:
    """Return what lies in the system's shared memory, but for other PostgreSQL servers' own."""
    folder = Path("/dev/shm")
    return {entry.name for entry in folder.iterdir() if not entry.name.startswith("PostgreSQL.")}
