"""The strangers of a cell, from the harness's side: their logins, their process, and what became of what they put."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import conninfo

from chaos.fleet import Fleet, environment_for
from chaos.kinds import STRANGE
from chaos.ledger import Ledger
from chaos.strangers import PUTS_JOBS, TASK

if TYPE_CHECKING:
    from chaos.stage import Stage

ROLES = Path(__file__).parents[2] / "docs" / "roles.md"
SHOWN = 10

LEFT = r"""
select substring(payload::text from 'tag\\*" ?: ?(\d+)')::int8 from fastq.{} where payload::text ~ 'tag\\*" ?: ?\d'
"""
"""What cannot be read is kept as a text: then the quotes have backslashes."""

STUCK = f"""
select 'ready', json_build_array(segment, pos, id, queue, priority, group_key, attempt)::text
from fastq.ready where shard = 0 and task = '{TASK}'
union all
select 'scheduled', json_build_array(id, run_at, reason, queue, priority, group_key, attempt)::text from fastq.scheduled
where shard = 0 and task = '{TASK}' and reason <> 'reserved' and run_at < now()
"""
WITHOUT_REASON = f"""
select json_build_array(id, queue, priority, group_key, attempt, meta)::text from fastq.finished
where task = '{TASK}' and state = 'failed' and coalesce(meta::text, '') not like '%%"message"%%'
"""
NAMELESS = f"select count(*) from fastq.finished where task = '{TASK}' and payload is null"
"""Kept without arguments: they could not be written, or another job has the id."""


class Crowd:
    """Starts the strangers, stops them, and looks for what they have broken. `open stop settle close`."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._process: subprocess.Popen[bytes] | None = None

    def open(self, conn: psycopg.Connection[Any], dsn: str) -> None:
        """Create the roles as the page says, a login in each, and let the strangers in; `dsn` is the owner's."""
        script = re.search(r"<!-- roles -->\n\s*```sql\n(.*?)```", ROLES.read_text(), re.DOTALL)
        assert script is not None
        conn.execute(script[1].encode())
        logins = {"owner": dsn}
        for role in ("worker", "producer"):
            conn.execute(f"create role strange_{role} login password 'chaos' in role fastq_{role}".encode())
            logins[role] = conninfo.make_conninfo(dsn, user=f"strange_{role}")
        command = [sys.executable, "-m", "chaos.strangers", "--logins", json.dumps(logins), "--seed", str(self._seed)]
        with (self._folder / "strangers-said.log").open("wb") as log:
            env = environment_for(dsn, self._folder)
            self._process = subprocess.Popen(
                command, env=env, cwd=self._folder, stdout=log, stderr=log, start_new_session=True
            )

    def stop(self) -> list[str]:
        """Send them home; return what was wrong with themselves."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        if code := self._process.wait(60):
            said = (self._folder / "strangers-said.log").read_text()[-1500:]
            return [f"the strangers ended with exit code {code}: {said}"]
        return []

    def close(self) -> None:
        """End them, whatever happened."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    # -- afterwards

    def settle(self, stage: Stage) -> list[str]:
        """Wait until all their jobs that can run have run; return what they have broken."""
        with stage.admin() as conn:
            stage.wait("the strangers' jobs to end", lambda: not conn.execute(STUCK.encode()).fetchone())
            stage.ledger.read()
            return self.troubles(conn, stage.ledger, stage.fleets)

    def troubles(self, conn: psycopg.Connection[Any], ledger: Ledger, fleets: list[Fleet]) -> list[str]:
        """Return what they have broken."""
        found = [f"{fleet.name}: {line}" for fleet in fleets for line in _deaths(fleet)]
        found += _shown("stuck", conn.execute(STUCK.encode()).fetchall())
        found += _shown("failed without a reason", conn.execute(WITHOUT_REASON.encode()).fetchall())
        vanished, nameless = sorted(self.vanished(conn, ledger)), _count(conn, NAMELESS)
        found += _shown(f"vanished, and {nameless} are kept nameless", vanished if len(vanished) > nameless else [])
        try:
            conn.execute("select state, count(*), max(run_at), max(enqueued_at) from fastq.job group by 1").fetchall()
        except psycopg.Error as exc:
            found.append(f"fastq.job cannot be read: {exc}")
        return found + self._unreadable(conn)

    def vanished(self, conn: psycopg.Connection[Any], ledger: Ledger) -> set[str]:
        """Return the attempts that put a job which is neither anywhere nor has ended well."""
        kept = {n - STRANGE for n in ledger.ended if n >= STRANGE}
        for table in (*PUTS_JOBS, "finished"):
            kept |= {row[0] for row in conn.execute(LEFT.format(table).encode())}
        gone = set()
        for line in self._lines():
            tag, _, target, outcome = line.split(" ", 3)
            puts = target.startswith((*PUTS_JOBS, "enqueue("))
            if puts and outcome.startswith("accepted") and int(tag) not in kept:
                gone.add(line)
        return gone

    def counts(self) -> Counter[str]:
        """Return what came of their attempts, by role."""
        return Counter(
            f"{role} {outcome.split()[0]}" for _, role, _, outcome in (x.split(" ", 3) for x in self._lines())
        )

    def _lines(self) -> list[str]:
        return [line for line in (self._folder / "strangers.log").read_text().splitlines() if line.count(" ") >= 3]

    def _unreadable(self, conn: psycopg.Connection[Any]) -> list[str]:
        """Return the commands that people look with, and that fail."""
        env = environment_for(conninfo.make_conninfo(conn.info.dsn, password="chaos"), self._folder)
        failed = []
        for words in (("status",), ("status", "--json"), ("jobs", "list", "--limit", "1000"), ("workers", "list")):
            command = [sys.executable, "-m", "fastq", *words]
            done = subprocess.run(command, env=env, capture_output=True, text=True, errors="replace", check=False)
            if done.returncode:
                failed.append(f"fastq {' '.join(words)} ended with {done.returncode}: {done.stderr[-600:]}")
        return failed


def _deaths(fleet: Fleet) -> list[str]:
    """Return what the supervisor says of the deaths of its children, and the last words of those."""
    lines = fleet.log.read_text(errors="replace").splitlines()
    died = [line for line in lines if re.search(r" supervisor .* died: ", line)]
    words = Counter(
        line[:200] for line in lines if re.match(r"[\w.]+(Error|Exception|Violation|Representation): ", line)
    )
    return [*died[:SHOWN], *(f"{count} x {line}" for line, count in words.most_common(SHOWN) if died)]


def _count(conn: psycopg.Connection[Any], query: str) -> int:
    row = conn.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0


def _shown(what: str, rows: list[Any]) -> list[str]:
    return [f"{len(rows)} {what}"] * bool(rows) + [f"{what}: {str(row)[:300]}" for row in rows[:SHOWN]]
