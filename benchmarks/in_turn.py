"""Measures two checkouts in turn, each with its own virtual environment: what did a change cost?

    python -m benchmarks.in_turn ../old . --scenario throughput --scenario latency --rounds 4 --output bench_results

One checkout can be measured against itself with another environment: `--new-env FASTQ_FUNCTIONS=1`.

Each checkout runs `.venv/bin/python -m fastq bench SCENARIO --json --repeat 1 …` with FASTQ_HOME of its own, so that
each has its own embedded server, started before the first round. Odd rounds begin with the other checkout. The ratio
is the median of the rounds' ratios, new to old: what the machine does meanwhile happens to both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from fastq.bench import result

CONDITIONS = ("at", "commit", "dirty", "machine", "versions", "server_settings", "settings")
FIGURES = {
    "throughput": ("jobs_per_s", "worker_cpu_us_per_job", "server_cpu_us_per_job"),
    "enqueue": ("jobs_per_s", "client_cpu_us_per_job", "single_jobs_per_s", "single_client_cpu_us_per_job", "p50_ms"),
    "latency": ("p50_ms", "p99_ms"),
    "steady": ("jobs_per_s",),
}


def options() -> argparse.Namespace:
    """Read the command line; what it does not know goes to `fastq bench` as it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="a checkout with .venv")
    parser.add_argument("new", type=Path, help="another")
    parser.add_argument("--scenario", action="append", choices=sorted(FIGURES), required=True)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--new-env", action="append", default=[], metavar="NAME=VALUE", help="for the new one alone")
    parser.add_argument("--output", type=Path, help="write <date>-<commit>-in-turn-SCENARIO.json there")
    given, given.rest = parser.parse_known_args()
    given.new_env = dict(pair.split("=", 1) for pair in given.new_env)
    return given


def commit(checkout: Path) -> str:
    """Return the commit that is checked out there, with "+" if files differ from it."""
    git = ["git", "-C", str(checkout)]
    name = subprocess.run([*git, "rev-parse", "--short=8", "HEAD"], stdout=subprocess.PIPE, text=True, check=True)
    changed = subprocess.run([*git, "status", "--porcelain", "-uno"], stdout=subprocess.PIPE, text=True, check=True)
    return name.stdout.strip() + ("+" if changed.stdout.strip() else "")


def run(checkout: Path, home: Path, arguments: list[str], extra: dict[str, str]) -> str:
    """Run `python -m fastq ARGUMENTS` of that checkout; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(
        [checkout.resolve() / ".venv/bin/python", "-m", "fastq", *arguments],
        cwd=checkout,
        env={**environment, **extra, "FASTQ_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        sys.exit(f"{checkout}: fastq {' '.join(arguments)} ended with {ran.returncode}:\n{ran.stderr}")
    return ran.stdout


def ratios(found: list[tuple[dict[str, Any], dict[str, Any]]], scenario: str) -> dict[str, float]:
    """Return new to old of each figure, the median over the rounds."""
    return {
        name: round(median(new[name] / old[name] for old, new in found), 4)
        for name in FIGURES[scenario]
        if all(old.get(name) and new.get(name) for old, new in found)
    }


def in_turn(scenario: str, given: argparse.Namespace, homes: tuple[Path, Path]) -> None:
    """Alternate, print each round and the ratios, write the file."""
    arguments = ["bench", scenario, "--json", "--repeat", "1", *given.rest]
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for number in range(given.rounds):
        sides = [(given.old, homes[0], {}), (given.new, homes[1], given.new_env)]
        order = sides if number % 2 == 0 else sides[::-1]
        said = [json.loads(run(checkout, home, arguments, extra)) for checkout, home, extra in order]
        old, new = said if number % 2 == 0 else said[::-1]
        found.append((old, new))
        shown = (f"{name} {old[name]:,} → {new[name]:,}" for name in FIGURES[scenario] if name in old and name in new)
        print(f"{scenario} {number + 1}: {', '.join(shown)}", flush=True)
    ratio = ratios(found, scenario)
    print(f"{scenario}: new to old {ratio}", flush=True)
    if given.output is not None:
        kept: dict[str, Any] = {"scenario": f"in-turn-{scenario}", "old": commit(given.old), "new": commit(given.new)}
        kept |= {"new_env": given.new_env} if given.new_env else {}
        kept |= {"ratio_new_to_old": ratio, "rounds": given.rounds, "command": f"fastq {' '.join(arguments)}"}
        kept |= {name: found[0][1][name] for name in CONDITIONS}
        print(f"wrote {result.save({**kept, 'samples': found}, given.output)}", flush=True)


def main() -> None:
    """Start both servers, then each scenario in turn."""
    given = options()
    with tempfile.TemporaryDirectory(prefix="fastq-in-turn-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)  # root's server runs as another user
        homes = Path(directory, "old"), Path(directory, "new")
        for checkout, home in zip((given.old, given.new), homes, strict=True):
            home.mkdir()
            run(checkout, home, ["migrate"], {})
        for scenario in given.scenario:
            in_turn(scenario, given, homes)


if __name__ == "__main__":
    main()
