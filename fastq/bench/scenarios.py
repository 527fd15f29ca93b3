"""The scenarios by name. A new one is a file with `run(bench) -> Result` and a line here."""

from __future__ import annotations

from collections.abc import Callable

from fastq.bench import depth, enqueue, latency, load, payload, pinned, scale, steady, throughput
from fastq.bench.bench import Bench
from fastq.bench.plan import Scenario
from fastq.bench.result import Result

RUNS: dict[Scenario, Callable[[Bench], Result]] = {
    Scenario.THROUGHPUT: throughput.run,
    Scenario.ENQUEUE: enqueue.run,
    Scenario.LATENCY: latency.run,
    Scenario.SCALE: scale.run,
    Scenario.PAYLOAD: payload.run,
    Scenario.DEPTH: depth.run,
    Scenario.STEADY: steady.run,
    Scenario.PINNED: pinned.run,
    Scenario.LOAD: load.run,
}


def run(scenario: Scenario, bench: Bench) -> Result:
    """Measure one scenario."""
    return RUNS[scenario](bench)
