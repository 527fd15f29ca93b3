"""Measures a cluster against one plain server, in turn: how fast no-ops are drained, and how soon a single job starts.

    python benchmarks/citus.py "host=… port=…" "host=… port=…" --jobs 1000000 --output bench_results

The first DSN is a plain server's, the second a coordinator's; both have to be empty of jobs. The fleets of two workers
run one after the other. The ratio is the median of the rounds' ratios, cluster to plain.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median

from shards import APP, Figures, Place

from fastq.bench import machine, result
from fastq.postgres import database
from fastq.schema import cluster, migrator

LOOK_S = 0.2
"""So seldom it is looked whether all are through: a look at all nodes costs as much as 30,000 jobs."""


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plain")
    parser.add_argument("cluster")
    parser.add_argument("--shards", type=int, default=8, help="of the cluster")
    parser.add_argument("--jobs", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="write <date>-<commit>-citus.json there")
    return parser.parse_args()


def main() -> None:
    """Measure, say it, write the file."""
    given = options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "shards_app.py").write_text(APP)
        for dsn, shards in ((given.plain, 1), (given.cluster, given.shards)):
            with database.connect(dsn) as conn:
                migrator.migrate(conn, shards=shards)
                if shards > 1:
                    cluster.spread(conn, lambda _: None)
                conn.execute("select fastq.pause('noop')")
        dsns = {"plain": given.plain, "cluster": given.cluster}
        places = {name: Place(dsn, folder, name, look_s=LOOK_S) for name, dsn in dsns.items()}
        rounds: list[dict[str, Figures]] = []
        for number in range(given.rounds):
            order = list(places) if number % 2 == 0 else list(reversed(places))
            rounds.append({where: places[where].measure(given.jobs, idle=False) for where in order})
            print(number, rounds[-1], flush=True)
    ratios = {
        figure: round(median(one["cluster"][figure] / one["plain"][figure] for one in rounds), 3)
        for figure in rounds[0]["plain"]
    }
    print(f"cluster to plain: {ratios}")
    if given.output is not None:
        with database.connect(given.cluster) as conn:
            conditions = machine.describe(conn)
        found = {"scenario": "citus", "shards": given.shards, "jobs": given.jobs, "ratios": ratios, "rounds": rounds}
        command = f"python benchmarks/citus.py PLAIN CLUSTER --shards {given.shards} --jobs {given.jobs}"
        print(f"wrote {result.save({**found, **conditions, 'command': command}, given.output)}")


if __name__ == "__main__":
    main()
