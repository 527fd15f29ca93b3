"""Producers and workers at the same time: what flows through, second by second, without asking the database."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from fastq.bench import fleet, proc
from fastq.bench.bench import Bench
from fastq.bench.meter import Spent, between
from fastq.bench.piped import Piped
from fastq.bench.plan import BenchError
from fastq.bench.producer import ProducerOrders
from fastq.bench.tally import FOLDER_VARIABLE, PRODUCER, ROOM_VARIABLE, WORKER, TallyBoard

BATCH = 1000
"""Jobs per enqueue_many."""

_BACKLOG_LEAST = 20_000
_BACKLOG_BATCHES = 20
_START_S, _DRY_S, _STOP_S = 30.0, 120.0, 30.0
_LOOK_EVERY_S = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStretch:
    """What flowed in some seconds: jobs in, jobs run, and the jobs that waited or ran at its end."""

    at_s: float
    wall_s: float
    enqueued: int
    run: int
    backlog: int

    def sample(self) -> dict[str, object]:
        """Return the figures of a sample; `at_s` is its end, counted from the beginning of the measurement."""
        return {
            "at_s": self.at_s,
            "enqueued_per_s": self.enqueued / self.wall_s,
            "jobs_per_s": self.run / self.wall_s,
            "backlog": self.backlog,
        }


def producers_for(processes: int) -> int:
    """Return how many producers keep so many workers busy: as many, since half of the time one waits for its commit."""
    return processes


def pacers_for(processes: int) -> int:
    """Return how many producers send at a pace: each every few ms, so more would only send smaller batches."""
    return max(1, processes // 2)


def backlog_for(processes: int, batch_size: int) -> int:
    """Return how many jobs may wait before a closed load pauses: some batches for each worker."""
    return max(_BACKLOG_LEAST, _BACKLOG_BATCHES * batch_size * processes)


class FlowBench:
    """A fleet, its producers and their tallies. `start`, any number of `stretch`, `stop`."""

    def __init__(self, bench: Bench, workers: fleet.BenchFleet, producers: list[Piped], board: TallyBoard) -> None:
        self._bench = bench
        self._fleet = workers
        self._producers = producers
        self._board = board
        self._began = 0.0
        self._cpu_s: float | None = None
        self._last = (0.0, 0, 0)
        self.worker_pids = list(workers.workers.values())

    def start(self) -> None:
        """Let the producers begin, and wait until jobs run."""
        for producer in self._producers:
            producer.tell(b"go")
        self._wait(lambda: self._board.jobs(WORKER) > 0, _START_S, "no job ran")

    def wait(self, seconds: float) -> None:
        """Let pass what is not counted: processes that begin."""
        time.sleep(seconds)
        self.check()

    def begin(self) -> None:
        """Count from now on."""
        self._began = time.monotonic()
        self._last = self._now()

    def stretch(self, until_s: float) -> FlowStretch:
        """Wait until so many seconds after the beginning, and return what flowed since the last time."""
        while (left_s := self._began + until_s - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.1))
            self.check()
        (at, enqueued, run), self._last = self._last, self._now()
        now, enqueued_now, run_now = self._last
        return FlowStretch(
            at_s=now - self._began,
            wall_s=now - at,
            enqueued=enqueued_now - enqueued,
            run=run_now - run,
            backlog=enqueued_now - run_now,
        )

    def finish(self) -> None:
        """Wait until the producers of an open load have sent all."""
        for producer in self._producers:
            producer.hear()

    def stop(self) -> int:
        """Let the producers end and the workers run what is left; return how many jobs went through in all."""
        for producer in self._producers:
            producer.tell(b"stop")
        for producer in self._producers:
            producer.hear(_STOP_S)
        return self.dry()

    def dry(self) -> int:
        """Wait until every job that was enqueued has been run, and once only."""
        jobs = self._board.jobs(PRODUCER)
        self._wait(lambda: self._board.jobs(WORKER) >= jobs, _DRY_S, "jobs were left")
        self._bench.ground.check_all_ran()
        if (ran := self._board.jobs(WORKER)) != jobs:
            raise BenchError(f"{jobs:,} jobs were enqueued and {ran:,} started")
        return jobs

    def producer_cpu_s(self) -> float | None:
        """Return the CPU seconds of all producers so far."""
        stats = [proc.stat(producer.pid) for producer in self._producers]
        return None if None in stats else sum(stat.cpu_s for stat in stats if stat is not None)

    def late_ns(self) -> list[int]:
        """Return how late each timed job started."""
        return self._board.notes_ns(WORKER)

    def check(self) -> None:
        """Raise BenchError if a producer or the fleet has ended."""
        self._fleet.check()
        for producer in self._producers:
            producer.check()

    def _now(self) -> tuple[float, int, int]:
        run = self._board.jobs(WORKER)
        return time.monotonic(), self._board.jobs(PRODUCER), run

    def _wait(self, condition: Callable[[], bool], within_s: float, complaint: str) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise BenchError(f"{complaint} within {within_s:.0f} s")
            time.sleep(_LOOK_EVERY_S)


@contextmanager
def flowing(bench: Bench, orders: ProducerOrders, *, room: int = 0) -> Iterator[FlowBench]:
    """Give workers that wait and producers that are connected, on an empty queue; end them afterwards."""
    plan = bench.plan
    bench.ground.clean()
    bench.ground.settle()
    bench.ground.unpause()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fastq-bench-"))
        environ = {FOLDER_VARIABLE: folder, ROOM_VARIABLE: str(room)}
        workers = stack.enter_context(fleet.running(bench.ground, plan, bench.dsn, environ))
        producers: list[Piped] = []
        count = (pacers_for if orders.rate else producers_for)(plan.processes)
        for share in _shares(replace(orders, folder=folder), count):
            producers.append(Piped("fastq.bench.producer", share))
            stack.callback(producers[-1].close)
        for producer in producers:
            producer.hear(_START_S)
        yield FlowBench(bench, workers, producers, TallyBoard(Path(folder)))


def closed(bench: Bench) -> ProducerOrders:
    """Return the orders of producers that always have more."""
    plan = bench.plan
    backlog = backlog_for(plan.processes, plan.batch_size)
    return ProducerOrders(dsn=bench.dsn, folder="", payload_bytes=plan.payload_bytes, batch=BATCH, backlog=backlog)


def _shares(orders: ProducerOrders, producers: int) -> list[ProducerOrders]:
    """Return what each producer has to do of an open load; of a closed one, all do the same."""
    return [
        replace(
            orders,
            rate=orders.rate / producers,
            jobs=orders.jobs * (number + 1) // producers - orders.jobs * number // producers,
            warm_up=orders.warm_up // producers,
        )
        for number in range(producers)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What flowed in all samples, and what was spent meanwhile."""

    samples: list[FlowStretch]
    spent: Spent
    client_cpu_s: float | None

    @property
    def jobs(self) -> int:
        """How many were run."""
        return sum(sample.run for sample in self.samples)

    def figures(self) -> dict[str, float | None]:
        """Return the figures of the whole time."""
        wall_s = sum(sample.wall_s for sample in self.samples)
        jobs = max(1, self.jobs)
        return {
            "jobs_per_s": self.jobs / wall_s,
            "enqueued_per_s": sum(sample.enqueued for sample in self.samples) / wall_s,
            "slowest_jobs_per_s": min(sample.run / sample.wall_s for sample in self.samples),
            "most_backlog": max(sample.backlog for sample in self.samples),
            **self.spent.per_job(jobs),
            "client_cpu_us_per_job": None if self.client_cpu_s is None else self.client_cpu_s / jobs * 1e6,
            "host_busy": self.spent.host_busy,
            "wall_s": wall_s,
        }


def measure(
    bench: Bench, flow: FlowBench, seconds: float, place: str, look: Callable[[], object] = lambda: None
) -> Measured:
    """Take a sample a second, or ten in all if that is more, of a flow that has begun; `look` is called after each."""
    count = max(10, round(seconds))
    client_s, before = flow.producer_cpu_s(), bench.meter.read(flow.worker_pids)
    flow.begin()
    samples: list[FlowStretch] = []
    for number in range(1, count + 1):
        samples.append(flow.stretch(seconds * number / count))
        look()
        bench.progress.say(
            f"{place} {samples[-1].at_s:.0f} of {seconds:.0f} s, {samples[-1].run / samples[-1].wall_s:,.0f} jobs/s"
        )
    spent, ended_s = between(before, bench.meter.read(flow.worker_pids)), flow.producer_cpu_s()
    return Measured(
        samples=samples,
        spent=spent,
        client_cpu_s=None if client_s is None or ended_s is None else ended_s - client_s,
    )
