"""A process of strangers: they put rows and call functions with whatever the types let in, by the grants of each role.

Three logins: the owner of the schema, a worker, a producer. A line of `strangers.log` is one attempt: `<tag> <role>
<target> accepted`, or `refused` and why; `taken`: there may be no job, and rightly. Jobs carry their tag in their
arguments, so that each can be found again.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import click
import psycopg
from psycopg import sql

from chaos.jobs import RUNS
from chaos.strange import Strange

TASK = "chaos.jobs.stranger"
QUEUES = ("default", "strangers", "", "ü", "\x1b[31m", "q" * 300)
PRIVATE = ("leader", "ring", "migration", "definition", "setting")
"""Tables by which a worker steers the whole fleet on purpose."""

STEERING = ("pause", "resume", "purge", "delete", "cancel", "retry", "drain", "stop", "sweep", "mend", "ended", "free")
"""Functions that do something to other people's jobs, as they are meant to."""

PUTS_JOBS = ("ready", "scheduled", "line")
MAY_END_UNSEEN = frozenset(("unique_key", "expires", "reason", "reserved", "jobs", "packet"))
"""With these it may be a duplicate, a reservation that expires, the place of one, or a packet whose payloads are
elsewhere: there is no job then, rightly, or none by which it is found.
"""

PAUSE_S = 0.01


class Stranger:
    """One login: what it may insert into, what it may call, and what it does."""

    def __init__(self, role: str, dsn: str, rng: random.Random) -> None:
        self.role = role
        self.strange = Strange(rng)
        self._rng = rng
        self._conn = psycopg.connect(dsn, autocommit=True, options="-c statement_timeout=20s -c lock_timeout=10s")
        self._tables = self._columns()
        self._functions = self._signatures()

    def _columns(self) -> dict[str, dict[str, str]]:
        rows = self._conn.execute(
            "select c.relname, a.attname, t.typname from pg_class c"
            " join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
            " join pg_type t on t.oid = a.atttypid"
            " where c.relnamespace = 'fastq'::regnamespace and c.relkind in ('r', 'p')"
            " and has_column_privilege(c.oid, a.attnum, 'insert') order by 1, a.attnum"
        )
        found: dict[str, dict[str, str]] = {}
        for table, column, kind in rows:
            if not table.startswith(PRIVATE):
                found.setdefault(table, {})[column] = kind
        return found

    def _signatures(self) -> list[tuple[str, list[tuple[str, str]]]]:
        rows = self._conn.execute(
            "select p.proname, p.proargnames[:p.pronargs], array(select typname from unnest(p.proargtypes)"
            " with ordinality a (oid, n) join pg_type t on t.oid = a.oid order by n)"
            " from pg_proc p where p.pronamespace = 'fastq'::regnamespace and p.prokind = 'f'"
            " and has_function_privilege(p.oid, 'execute') and p.prorettype <> 'trigger'::regtype order by 1, p.oid"
        )
        return [
            (name, list(zip(names or [], kinds, strict=False)))
            for name, names, kinds in rows
            if not name.startswith(STEERING)
        ]

    def act(self, tag: int) -> tuple[str, str]:
        """Do one thing; return what it was aimed at, and what came of it."""
        enqueues = [signature for signature in self._functions if signature[0] in ("enqueue", "reserve")]
        dice = self._rng.random()
        if dice < 0.35 and enqueues:
            return self._call(*self._rng.choice(enqueues), tag)
        if dice < 0.5 and self._functions:
            return self._call(*self._rng.choice(self._functions), tag)
        jobs = [table for table in self._tables if table.startswith(PUTS_JOBS)]
        table = self._rng.choice(jobs if dice < 0.9 and jobs else sorted(self._tables))
        return self._insert(table, tag)

    def _insert(self, table: str, tag: int) -> tuple[str, str]:
        columns = self._tables[table]
        about_jobs = table.startswith(PUTS_JOBS)
        needed = {"task", "payload", "queue", "shard", "pos", "run_at"} if about_jobs else set(columns)
        chosen = [c for c in columns if c in needed or self._rng.random() < 0.4]
        if about_jobs and self._rng.random() < 0.7:  # the sequence has the last word about places
            chosen = [c for c in chosen if c not in ("pos", "id")]
        values = [self._value(table, column, columns[column], tag) for column in chosen]
        statement = sql.SQL("insert into fastq.{} ({}) values ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, chosen)),
            sql.SQL(", ").join(sql.SQL("%s::{}").format(sql.SQL(_type(columns[c]))) for c in chosen),  # type: ignore[arg-type]
        )
        return table, self._run(statement, values, chosen)

    def _call(self, name: str, arguments: list[tuple[str, str]], tag: int) -> tuple[str, str]:
        required = 2 if name in ("enqueue", "reserve") else len(arguments)
        chosen = [a for nth, a in enumerate(arguments) if nth < required or self._rng.random() < 0.3]
        values = [self._value("", argument, kind, tag) for argument, kind in chosen]
        named = [
            sql.SQL("{} => %s::{}").format(sql.Identifier(argument), sql.SQL(_type(kind)))  # type: ignore[arg-type]
            for argument, kind in chosen
        ]
        statement = sql.SQL("select * from fastq.{}({})").format(sql.Identifier(name), sql.SQL(", ").join(named))
        return f"{name}()", self._run(statement, values, [argument for argument, _ in chosen])

    def _value(self, table: str, column: str, kind: str, tag: int) -> Any:
        if column == "task" and self._rng.random() < 0.8:
            return TASK
        if column in ("payload", "args", "arguments"):
            return self.strange.payload(tag)
        if column == "meta":
            return self.strange.meta()
        if column in ("shard", "s") and self._rng.random() < 0.95:
            return 0
        if column == "worker" and self._rng.random() < 0.7:
            found = self._conn.execute("select id from fastq.worker order by random() limit 1").fetchone()
            return found[0] if found else 1
        if column == "segment" and self._rng.random() < 0.9:
            return self._rng.randrange(4)
        if column == "queue" or (table == "queue" and column == "name"):
            return self._rng.choice(QUEUES) if table.startswith(PUTS_JOBS) or not table else f"elsewhere {tag}"
        if column in ("name", "key") and kind == "text":
            return f"elsewhere {tag}"
        return self.strange.of(kind)

    def _run(self, statement: sql.Composed, values: list[Any], names: list[str]) -> str:
        try:
            self._conn.execute(statement, values)
        except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as exc:
            return f"gave up {exc}"
        except psycopg.OperationalError as exc:
            return f"broke {exc}"
        except (psycopg.Error, UnicodeError, ValueError) as exc:
            return f"refused {exc}"
        told = ", ".join(f"{name}={str(value)[:60]!r}" for name, value in zip(names, values, strict=True))
        return f"{'accepted' if MAY_END_UNSEEN.isdisjoint(names) else 'taken'} {told}"


def _type(name: str) -> str:
    return f"{name[1:]}[]" if name.startswith("_") else name


@click.command()
@click.option("--logins", required=True, help="A JSON object: DSNs by role.")
@click.option("--seed", type=int, default=0)
def main(logins: str, seed: int) -> None:
    """Put and call until TERM."""
    rng = random.Random(seed)
    strangers = [Stranger(role, dsn, rng) for role, dsn in json.loads(logins).items()]
    stopping = False

    def stop(_signum: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    with (Path(os.environ[RUNS]) / "strangers.log").open("a", buffering=1) as log:
        tag = 0
        while not stopping:
            tag += 1
            stranger = rng.choice(strangers)
            target, outcome = stranger.act(tag)
            log.write(f"{tag} {stranger.role} {target} {' '.join(outcome.split())[:500]}\n")
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
