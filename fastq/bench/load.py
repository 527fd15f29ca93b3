"""How late jobs start under a load that does not wait: at 10, 50 and 90 % of what the steady scenario carries.

Every job has a time at which it is due, at an even pace, and its latency counts from then: a producer or a worker that
is held up makes all jobs late that were due meanwhile, and none of them is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastq.bench import flow, limit, machine, steady, summary
from fastq.bench.bench import Bench
from fastq.bench.flow import Measured
from fastq.bench.plan import BenchError
from fastq.bench.producer import PACE_S, ProducerOrders
from fastq.bench.result import Result

LEVELS = (0.1, 0.5, 0.9)
_CAPACITY_S = 10.0
_WARM_UP_S = 1.0
_QUANTILES = (*(percent / 100 for percent in range(101)), 0.999, 0.9999)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One load: the share of the capacity, its rate, and how late its jobs started, in order, in ms."""

    share: float
    rate: float
    late_ms: list[float]
    measured: Measured

    def point(self) -> dict[str, float | None]:
        """Return its figures."""
        return {
            "load": self.share,
            "offered_per_s": self.rate,
            "p50_ms": summary.quantile(self.late_ms, 0.5),
            "p99_ms": summary.quantile(self.late_ms, 0.99),
            "p999_ms": summary.quantile(self.late_ms, 0.999),
            "max_ms": self.late_ms[-1],
            **self.measured.figures(),
        }

    def sample(self) -> dict[str, object]:
        """Return the raw figures: the flow each second, and the latencies by their quantiles."""
        return {
            "load": self.share,
            "timed_jobs": len(self.late_ms),
            "quantiles_ms": [[share, summary.quantile(self.late_ms, share)] for share in _QUANTILES],
            "flow": [sample.sample() for sample in self.measured.samples],
        }


def run(bench: Bench) -> Result:
    """Measure the capacity, then each level for `seconds`."""
    seconds = bench.seconds
    capacity = _capacity(bench, min(seconds, _CAPACITY_S))
    levels = [_level(bench, share, capacity, seconds) for share in LEVELS]
    points = [level.point() for level in levels]
    last = levels[-1].measured
    plan = bench.plan
    return Result(
        scenario="load",
        jobs=sum(level.measured.jobs for level in levels),
        figures={
            **{name: value for name, value in points[-1].items() if name != "load"},
            "capacity_jobs_per_s": capacity,
            "half_p99_ms": points[LEVELS.index(0.5)]["p99_ms"],
            "pace_ms": PACE_S * 1e3,
            "producers": flow.pacers_for(plan.processes),
            "points": points,
        },
        limit=limit.of_load(last.spent, last.client_cpu_s, cpus=machine.cpus(), pace_ms=PACE_S * 1e3),
        lines=[
            ("capacity", f"{summary.shown(capacity)} jobs/s enqueued and run, as `fastq bench steady` measures"),
            *(_line(point) for point in points),
        ],
        samples=[level.sample() for level in levels],
        notes=bench.notes,
    )


def _capacity(bench: Bench, seconds: float) -> float:
    bench.progress.say("load: starting workers")
    with flow.flowing(bench, flow.closed(bench)) as flowing:
        flowing.start()
        flowing.wait(steady.WARM_UP_S)
        measured = flow.measure(bench, flowing, seconds, "load, capacity:")
        flowing.stop()
    rate = measured.figures()["jobs_per_s"]
    if not rate:
        raise BenchError("nothing was run in the time in which the capacity was to be measured")
    return rate


def _level(bench: Bench, share: float, capacity: float, seconds: float) -> Level:
    rate = share * capacity
    jobs = round(rate * (seconds + _WARM_UP_S))
    orders = ProducerOrders(
        dsn=bench.dsn,
        folder="",
        payload_bytes=bench.plan.payload_bytes,
        rate=rate,
        jobs=jobs,
        warm_up=round(rate * _WARM_UP_S),
    )
    with flow.flowing(bench, orders, room=jobs) as flowing:
        flowing.start()
        flowing.wait(_WARM_UP_S)
        measured = flow.measure(bench, flowing, seconds, f"load {share:.0%}:")
        flowing.finish()
        flowing.dry()
        late_ms = sorted(late_ns / 1e6 for late_ns in flowing.late_ns())
    return Level(share=share, rate=rate, late_ms=late_ms, measured=measured)


def _line(point: dict[str, float | None]) -> tuple[str, str]:
    shown = summary.shown
    return (
        f"at {shown(point['load'], '.0%')}",
        (
            f"p50 {shown(point['p50_ms'], '.2f')} ms, p99 {shown(point['p99_ms'], '.2f')} ms, p99.9 "
            f"{shown(point['p999_ms'], '.2f')} ms, worst {shown(point['max_ms'], '.1f')} ms at "
            f"{shown(point['offered_per_s'])} jobs/s; per job {shown(point['server_cpu_us_per_job'], '.2f')} µs server "
            f"CPU, {shown(point['worker_cpu_us_per_job'], '.2f')} µs worker CPU, "
            f"{shown(point['client_cpu_us_per_job'], '.2f')} µs producer CPU, "
            f"{shown(point['wal_bytes_per_job'], '.0f')} B of WAL"
        ),
    )
