"""`python -m benchmarks SCENARIO`: what the project measures for itself, with the options of `fastq bench`."""

from __future__ import annotations

from fastq.bench.scenarios import Scenario
from fastq.cli.bench import command
from fastq.cli.main import main

PROGRAM = "python -m benchmarks"
SCENARIOS = (
    Scenario("scale", "throughput for 1, 2, … --processes", jobs=500_000, module="benchmarks.scale"),
    Scenario("payload", "throughput and enqueue with 100 B, 1 kB, 10 kB", jobs=200_000, module="benchmarks.payload"),
    Scenario("depth", "a claim with 10 thousand, a million, --jobs waiting", jobs=5_000_000, module="benchmarks.depth"),
    Scenario("rollback", "a claim after --jobs rolled back", jobs=2_000_000, module="benchmarks.rollback"),
)

if __name__ == "__main__":
    main(command=command(SCENARIOS, program=PROGRAM), program=PROGRAM)
