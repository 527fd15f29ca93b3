"""Measures what a fleet costs its database while there is nothing to do, and how soon it has restarted.

    DSN="host=… dbname=…" python benchmarks/idle_fleet.py --hosts 8 -p 25 --output bench_results

Each "host" is a supervisor of its own on this machine. The database must have nothing else to do, and room for
hosts x (processes + 4) connections. The server's CPU is read from /proc, so it has to run on this machine.

`--light` adds workers that are no processes (light_workers.py), where the memory does not hold as many as are wanted.
With `--listen-dsn`, DSN leads through a pooler, and that one past it; CPU is the database's, not the pooler's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fastq.bench import machine, result
from fastq.config import find_dsn
from fastq.postgres import database
from fastq.schema import migrator

APP = "import fastq\n\napp = fastq.App()\n\n\n@app.task\nasync def idle() -> None: ...\n"
SETTLES_S = 40.0
CONNECTIONS = """
select application_name, count(*) from pg_stat_activity
where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid() group by 1 order by 1
"""
Db = database.Connection


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("-p", "--processes", type=int, default=2, help="of each")
    parser.add_argument("--light", type=int, default=0, help="so many more workers without processes, over the hosts")
    parser.add_argument("--listen-dsn", help="the server itself, where DSN leads through a pooler")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long it is watched")
    parser.add_argument("--output", type=Path, help="write <date>-<commit>-idle-fleet.json there")
    return parser.parse_args()


class Fleet:
    """Some supervisors of one app, and some workers that are no processes."""

    def __init__(self, given: argparse.Namespace, dsn: str, folder: Path) -> None:
        (folder / "idle_app.py").write_text(APP)
        self._given = given
        self.workers = given.hosts * given.processes
        self._command = [sys.executable, "-m", "fastq", "worker", "idle_app:app", "-p", str(given.processes)]
        self._command += ["--log-level", "error"]
        self._command += ["--listen-dsn", given.listen_dsn] if given.listen_dsn else []
        self._place = {
            "cwd": folder,
            "env": {**os.environ, "FASTQ_DSN": dsn, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        }
        self._supervisors: list[subprocess.Popen[bytes]] = []
        self._light = self._start_light() if given.light else None

    def _start_light(self) -> subprocess.Popen[str]:
        script = Path(__file__).with_name("light_workers.py")
        numbers = ["--hosts", str(self._given.hosts), "--workers", str(self._given.light)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, str(script), *numbers], **pipes, **self._place)

    def light(self, command: str) -> float:
        """Start or stop the light ones; returns the seconds that it took."""
        if self._light is None:
            return 0.0
        assert self._light.stdin is not None
        assert self._light.stdout is not None
        print(command, file=self._light.stdin, flush=True)
        return float(self._light.stdout.readline())

    def start(self, conn: Db) -> float:
        """Start the supervisors; returns the seconds until each worker has registered."""
        began = time.monotonic()
        for _ in range(self._given.hosts):
            self._supervisors.append(subprocess.Popen(self._command, **self._place))
        while registered(conn) < self.workers:
            if any(one.poll() is not None for one in self._supervisors):
                sys.exit("a supervisor has ended by itself; are there connections enough?")
            time.sleep(0.2)
        return time.monotonic() - began

    def stop(self) -> float:
        """Let all supervisors drain; returns the seconds that it took."""
        began = time.monotonic()
        for one in self._supervisors:
            one.terminate()
        for one in self._supervisors:
            one.wait()
        self._supervisors = []
        return time.monotonic() - began


def registered(conn: Db) -> int:
    """Return how many workers with processes there are."""
    row = conn.execute("select count(*) from fastq.worker where shard = 0 and host not like 'light-%'").fetchone()
    assert row is not None
    return int(row[0])


def transactions(conn: Db) -> int:
    """Return how many there were in this database."""
    conn.execute("select pg_stat_clear_snapshot()")
    row = conn.execute(
        "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
    ).fetchone()
    assert row is not None
    return int(row[0])


def cpu_s(conn: Db) -> float:
    """Return the CPU seconds of the server's processes that are there now."""
    ticks = 0
    for (pid,) in conn.execute("select pid from pg_stat_activity").fetchall():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(given: argparse.Namespace, conn: Db, fleet: Fleet) -> dict[str, float]:
    """Return the figures of one fleet."""
    figures = {"start_s": fleet.start(conn), "light_start_s": fleet.light("start")}
    time.sleep(SETTLES_S)
    before, cpu, began = transactions(conn), cpu_s(conn), time.monotonic()
    time.sleep(given.seconds)
    took = time.monotonic() - began
    figures["transactions_per_s"] = (transactions(conn) - before) / took
    figures["server_cpu_percent"] = 100 * (cpu_s(conn) - cpu) / took
    kinds = conn.execute(CONNECTIONS).fetchall()
    print(", ".join(f"{name or 'unnamed'} {count}" for name, count in kinds), file=sys.stderr)
    figures["connections"] = sum(count for _, count in kinds)
    figures["light_stop_s"], figures["light_restart_s"] = fleet.light("stop"), fleet.light("start")
    fleet.light("stop")
    figures["stop_s"] = fleet.stop()
    figures["restart_s"] = fleet.start(conn)
    fleet.stop()
    return {name: round(value, 2) for name, value in figures.items() if value}


def main() -> None:
    """Measure, say it, write the file."""
    given = options()
    dsn = os.environ.get("DSN") or database.reachable(find_dsn())
    with database.connect(given.listen_dsn or dsn, "fastq bench") as conn, tempfile.TemporaryDirectory() as folder:
        migrator.check(conn)
        conditions = machine.describe(conn)
        figures = measure(given, conn, Fleet(given, dsn, Path(folder)))
    print(f"{given.hosts} hosts of {given.processes} workers, {given.light} light ones: {figures}")
    if given.output is not None:
        command = f"python benchmarks/idle_fleet.py --hosts {given.hosts} -p {given.processes}"
        command += f" --light {given.light}" * bool(given.light) + " --listen-dsn …" * bool(given.listen_dsn)
        about = {"hosts": given.hosts, "processes": given.processes, "light": given.light}
        found = {"scenario": "idle-fleet", **about, "pooled": bool(given.listen_dsn), **figures, **conditions}
        print(f"wrote {result.save({**found, 'command': command}, given.output)}")


if __name__ == "__main__":
    main()
