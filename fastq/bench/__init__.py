"""The bench: measures the product on the user's own database, beside a ceiling taken in the same run.

    cli/bench.py ──► scenarios.py ──► throughput.py   enqueue.py   latency.py        one file per scenario
                                          │               │            │
             ground.py (its own queue, cleaned up) · fleet.py (`fastq worker`, as a user starts it)
             ceiling.py ──► claimant.py (the claim statement alone) · meter.py ──► proc.py (CPU, WAL, memory)
                                          │
             summary.py limit.py (pure) ──► result.py (one JSON object, a few lines, a file) ◄── machine.py

A new scenario is a file with `run(bench) -> Result` and a line in `scenarios.py`. What only the project itself measures
is in `benchmarks/`, in a checkout. What a figure means and how it is
taken stands in docs/benchmarks.md.
"""
