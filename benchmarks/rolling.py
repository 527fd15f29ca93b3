"""Two versions of fastq at work on one database while it is migrated: upgraded, and gone back to, under load.

    python benchmarks/rolling.py --old b377379 --output bench_results

The old version is a checkout or a commit of this one; a migration of the new version has to say that it suits the old
one's schema. Each has a fleet and a producer of its own, in processes that import that version's code. It says what was
acknowledged, lost, repeated and refused in each phase, and exits with 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rolling_sides import PATIENCE_S, Running, Side, complaints, side
from rolling_verdict import Phase, Played, by_phase, figures, wrong

from fastq import testing
from fastq.bench import machine, result
from fastq.postgres import database

LEFT = "select count(*) from fastq.job where task <> 'rolling_app.tick'"


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", required=True, help="a checkout, or a commit of this one")
    parser.add_argument("--old-python", default=sys.executable, help="that of another environment")
    parser.add_argument("--dsn", help="a server, on which a database is made; the embedded one unless it is given")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each phase")
    parser.add_argument("-p", "--processes", type=int, default=2, help="of each fleet")
    parser.add_argument("--output", type=Path, help="write <date>-<commit>-rolling.json there")
    return parser.parse_args()


class Play:
    """The fleets and producers of both versions; `act` plays the whole upgrade, and the way back."""

    def __init__(self, given: argparse.Namespace, old: Side, new: Side) -> None:
        self._given, self.old, self.new = given, old, new
        self.phases: list[Phase] = []
        self.started: list[Running] = []
        self.unexpected: list[str] = []
        self._up: dict[str, Running] = {}

    def act(self) -> None:
        """Play all phases. What is up changes at their beginnings."""
        old, new = self.old, self.new
        print(old.run("migrate"), flush=True)
        self._fleet(old)
        self._producer(old)
        self._phase("the old version alone")
        print(new.run("migrate"), flush=True)
        self._phase("migrated, the old version goes on")
        self._fleet(new)
        self._producer(new)
        self._phase("both")
        self._end(f"fleet-{old.schema}", f"producer-{old.schema}")
        self._fleet(old)
        self._producer(old)
        self._phase("both, the old version restarted")
        self._end(f"fleet-{old.schema}")
        self._phase("the new fleet alone")
        self._end(f"producer-{old.schema}")
        self._phase("the new version alone: upgraded")
        self._end(f"fleet-{new.schema}")
        self._fleet(old)
        self._phase("gone back: the old fleet alone")
        self._end(f"producer-{new.schema}")
        self._producer(old)
        self._phase("the old version alone, migrated")
        self._end(f"producer-{old.schema}")

    def drain(self, conn: database.Connection) -> int:
        """Wait until no job is left; let the fleet drain; return how many jobs there are all the same."""
        until = time.monotonic() + PATIENCE_S
        while conn.execute(LEFT).fetchone() != (0,) and time.monotonic() < until:
            time.sleep(0.1)
        self._end(*self._up)
        row = conn.execute(LEFT).fetchone()
        return 0 if row is None else int(row[0])

    def kill(self) -> None:
        """End what is left over."""
        for one in self._up.values():
            one.kill()

    def _fleet(self, of: Side) -> None:
        name = f"fleet-{of.schema}"
        self._keep(name, of.fleet(self._numbered(name), self._given.processes))

    def _producer(self, of: Side) -> None:
        name = f"producer-{of.schema}"
        self._keep(name, of.producer(self._numbered(name)))

    def _numbered(self, name: str) -> str:
        return f"{name}-{sum(one.name.startswith(name) for one in self.started) + 1}"

    def _keep(self, name: str, one: Running) -> None:
        self._up[name] = one
        self.started.append(one)

    def _end(self, *names: str) -> None:
        for name in names:
            one = self._up.pop(name)
            early = one.ended
            code = one.stop()
            if early or code:
                self.unexpected.append(f"{one.name} ended with {code}{' by itself' if early else ''}")

    def _phase(self, name: str) -> None:
        """Let what is up work for some time."""
        began = self.phases[-1].ended if self.phases else time.monotonic()
        time.sleep(self._given.seconds)
        up = {
            what: tuple(sorted(one.schema for key, one in self._up.items() if key.startswith(what)))
            for what in ("fleet", "producer")
        }
        ended = time.monotonic()
        self.phases.append(Phase(name=name, began=began, ended=ended, fleets=up["fleet"], producers=up["producer"]))
        print(f"{name}: fleets {up['fleet']}, producers {up['producer']}", flush=True)


def lines(path: Path) -> list[dict[str, Any]]:
    """Return what was written down."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def judged(play: Play, folder: Path, rows: list[str], left: int) -> dict[str, Any]:
    """Return all figures."""
    last = play.phases[-1]
    end = Phase(name="the rest", began=last.ended, ended=time.monotonic(), fleets=last.fleets, producers=())
    played = Played(
        acks=lines(folder / "acks"),
        runs=lines(folder / "runs"),
        rows=rows,
        phases=[*play.phases, end],
        schemas={one.name: one.schema for one in play.started},
    )
    phases = by_phase(played)
    heard = Counter(complaint for one in play.started for complaint in complaints(one.log.read_text("utf-8")))
    texts = {
        level: [f"{n} x {text}" for (of, text), n in heard.items() if of == level] for level in ("error", "warning")
    }
    return {
        **figures(played),
        "left": left,
        "idle": sum(one["idle"] for one in phases[:-1]),
        "unexpected_ends": len(play.unexpected),
        "log_errors": len(texts["error"]),
        "log_warnings": len(texts["warning"]),
        "processes_started": len(play.started),
        "phases": phases,
        "ends": play.unexpected,
        "errors": [*texts["error"], *sorted({ack["error"] for ack in played.acks if "error" in ack})][:20],
        "warnings": texts["warning"][:20],
    }


def show(found: dict[str, Any]) -> None:
    """Print the figures."""
    for phase in found["phases"]:
        print(phase)
    for name in ("ends", "errors", "warnings"):
        for text in found[name]:
            print(f"{name}: {text}")
    print({name: value for name, value in found.items() if isinstance(value, int)})


def main() -> int:
    """Play, say what came of it, write the file; returns the exit code."""
    given = options()
    with testing.server(given.dsn) as server, testing.database(server) as dsn, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        old = side(given.old, given.old_python, dsn, folder)
        new = side(str(Path(__file__).parents[1]), sys.executable, dsn, folder)
        print(f"old: {old.commit}, schema {old.schema}; new: {new.commit}, schema {new.schema}", flush=True)
        play = Play(given, old, new)
        with database.connect(dsn) as conn:
            conditions = machine.describe(conn)
            conn.execute("create table public.written (job text not null)")
            try:
                play.act()
                left = play.drain(conn)
            finally:
                play.kill()
            rows = [row[0] for row in conn.execute("select job from public.written").fetchall()]
        found = judged(play, folder, rows, left)
    show(found)
    faults = wrong(found)
    print(f"WRONG: {faults}" if faults else "nothing was lost, doubled or refused")
    if given.output is not None:
        commits = {str(one.schema): one.commit for one in (old, new)}
        about = {"scenario": "rolling", "schemas": commits, "processes": given.processes}
        command = f"python benchmarks/rolling.py --old {old.commit} --seconds {given.seconds:g}"
        print(f"wrote {result.save({**about, **found, **conditions, 'command': command}, given.output)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
