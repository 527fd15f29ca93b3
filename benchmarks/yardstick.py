"""Measures fastq beside a yardstick script, in turn, on the same database: the ratio of the medians.

    DSN="host=… dbname=…" python benchmarks/yardstick.py ../shared/prototypes/drain.py --rounds 3 --output bench_results

The yardstick is run as `python SCRIPT PROCESSES JOBS BATCH CONCURRENCY` with DSN in its environment and says
"drained 123,456 jobs/s" last. fastq is `fastq bench throughput --json --repeat 1`, on the same DSN, same numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from fastq.bench import machine, result
from fastq.config import find_dsn
from fastq.postgres import database
from fastq.schema import migrator

SAYS = re.compile(r"drained ([\d,]+(?:\.\d+)?) jobs/s")


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", type=Path, help="the yardstick")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=500_000)
    parser.add_argument("-p", "--processes", type=int, default=2)
    parser.add_argument("-b", "--batch-size", type=int, default=500)
    parser.add_argument("-c", "--concurrency", type=int, default=100)
    parser.add_argument("--output", type=Path, help="write <date>-<commit>-yardstick.json there")
    return parser.parse_args()


def yardstick(given: argparse.Namespace, dsn: str) -> float:
    """Run the yardstick once; return its jobs/s."""
    numbers = [given.processes, given.jobs, given.batch_size, given.concurrency]
    command = [sys.executable, str(given.script), *map(str, numbers)]
    ran = subprocess.run(command, env={**os.environ, "DSN": dsn}, stdout=subprocess.PIPE, text=True, check=True)
    found = SAYS.search(ran.stdout)
    if found is None:
        sys.exit(f"{given.script} did not say how much it drained:\n{ran.stdout}")
    return float(found[1].replace(",", ""))


def product(given: argparse.Namespace, dsn: str) -> dict[str, Any]:
    """Run `fastq bench throughput` once; return what it found."""
    command = [sys.executable, "-m", "fastq", "bench", "throughput", "--json", "--repeat", "1"]
    command += ["--jobs", str(given.jobs), "-p", str(given.processes)]
    command += ["-b", str(given.batch_size), "-c", str(given.concurrency)]
    ran = subprocess.run(command, env={**os.environ, "FASTQ_DSN": dsn}, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def main() -> None:
    """Alternate, print the ratio, write the file."""
    given = options()
    dsn = os.environ.get("DSN") or database.reachable(find_dsn())
    with database.connect(dsn, "fastq yardstick") as conn:
        migrator.check(conn)
        conditions = machine.describe(conn)
    theirs: list[float] = []
    ours: list[dict[str, Any]] = []
    for number in range(given.rounds):
        theirs.append(yardstick(given, dsn))
        ours.append(product(given, dsn))
        drained = ours[-1]["jobs_per_s"]
        print(
            f"round {number + 1}: yardstick {theirs[-1]:,.0f}, fastq {drained:,.0f} jobs/s ({drained / theirs[-1]:.0%})"
        )
    yards, fastqs = median(theirs), median(found["jobs_per_s"] for found in ours)
    print(f"medians: yardstick {yards:,.0f}, fastq {fastqs:,.0f} jobs/s: {fastqs / yards:.1%} of the yardstick")
    if given.output is not None:
        figures = {"jobs_per_s": fastqs, "yardstick_jobs_per_s": yards, "ratio_to_yardstick": round(fastqs / yards, 4)}
        numbers = f"--rounds {given.rounds} --jobs {given.jobs} -p {given.processes}"
        command = (
            f"python benchmarks/yardstick.py {given.script.name} {numbers} -b {given.batch_size} -c {given.concurrency}"
        )
        found = {"scenario": "yardstick", "script": given.script.name, "jobs": given.jobs, **figures, **conditions}
        found["command"] = command
        found["samples"] = {"yardstick_jobs_per_s": theirs, "fastq": ours}
        print(f"wrote {result.save(found, given.output)}")


if __name__ == "__main__":
    main()
