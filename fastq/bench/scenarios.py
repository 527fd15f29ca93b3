"""The scenarios. A new one is a file here with `run(bench) -> Result` and a line below."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command's help lists them, without a database driver
    from fastq.bench.bench import Bench
    from fastq.bench.result import Result


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something that can be measured.

    Attributes:
        name: what it is called on the command line, in results and their files.
        about: one line for the help.
        jobs: how many jobs it goes through unless told otherwise; None for one that takes a time.
        seconds: how long it takes unless told otherwise; None for one that goes through a number of jobs.
        short: whether it is measured where no scenario is named.
        module: where its `run` is; "" for the module of its name in this package.

    """

    name: str
    about: str
    jobs: int | None = None
    seconds: float | None = None
    short: bool = False
    module: str = ""

    def run(self, bench: Bench) -> Result:
        """Measure it, with its own defaults where the plan leaves them open."""
        plan = bench.plan
        filled = bench.with_plan(jobs=plan.jobs or self.jobs, seconds=plan.seconds or self.seconds)
        result: Result = import_module(self.module or f"{__package__}.{self.name}").run(filled)
        return result


SCENARIOS = (
    Scenario("throughput", "no-op jobs drained from a filled queue, beside claims alone", jobs=500_000, short=True),
    Scenario("enqueue", "enqueue_many beside raw COPY, 100 callers at once, one alone", jobs=500_000, short=True),
    Scenario("latency", "enqueue call to handler start, workers idle", jobs=1000, short=True),
    Scenario("steady", "enqueue and run at the same time, for --duration", seconds=30),
    Scenario("pinned", "the same while vacuum can remove nothing", seconds=60),
    Scenario("load", "latency at 10, 50, 90 % of what steady carries", seconds=20),
)
