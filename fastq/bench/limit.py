"""Says what a figure was limited by, from what was spent. Pure: a reading of the meters, not a proof."""

from __future__ import annotations

from fastq.bench.meter import Spent

_BUSY_HOST = 0.9
_BUSY_PROCESS = 0.85


def of_drain(spent: Spent, *, processes: int, cpus: int) -> str:
    """Return what kept the workers from draining faster."""
    if spent.server_cpu_s is None or spent.worker_cpu_s is None or spent.wall_s <= 0:
        return _unseen(spent, processes)
    server, workers = spent.server_cpu_s / spent.wall_s, spent.worker_cpu_s / spent.wall_s
    used = f"PostgreSQL {server:.2f}, workers {workers:.2f} of {cpus} CPUs"
    if spent.host_busy is not None and spent.host_busy >= _BUSY_HOST:
        others = spent.host_busy * cpus - server - workers
        also = f", other processes {others:.2f}" if others > 0.1 * cpus else ""
        return f"the CPUs of this host, all busy ({used}{also})"
    if workers >= _BUSY_PROCESS * processes:
        return f"the CPU of the worker processes, more of them would help ({used})"
    if server >= _BUSY_PROCESS * processes:
        return f"PostgreSQL's CPU, one per claiming connection ({used})"
    if server + workers >= _BUSY_PROCESS * processes:
        return f"turns: each process and its connection wait for each other, more processes would help ({used})"
    return f"waiting for flushes, locks or the network: nobody's CPU is busy ({used})"


def of_enqueue(client_cpu_s: float, wall_s: float) -> str:
    """Return what kept one producer from enqueuing faster."""
    share = client_cpu_s / wall_s if wall_s > 0 else 0.0
    if share >= _BUSY_PROCESS:
        return f"the CPU of the producer, {share:.0%} busy: more producers would help"
    return f"the server's COPY, {1 - share:.0%} of the time the producer waited for it"


def of_latency(enqueue_p50_ms: float, p50_ms: float) -> str:
    """Return which part of the way from enqueue to start is the longest."""
    rest = max(0.0, p50_ms - enqueue_p50_ms)
    if enqueue_p50_ms >= rest:
        return f"the enqueue's own commit: {enqueue_p50_ms:.2f} of {p50_ms:.2f} ms"
    return f"the way to the worker, NOTIFY and claim: {rest:.2f} of {p50_ms:.2f} ms"


def _unseen(spent: Spent, processes: int) -> str:
    if spent.worker_cpu_s is None or spent.wall_s <= 0:
        return "unknown: the CPU of these processes cannot be read here"
    share = spent.worker_cpu_s / spent.wall_s / processes
    if share >= _BUSY_PROCESS:
        return f"the CPU of the worker processes ({share:.0%} each), more of them would help"
    return f"PostgreSQL or the network (workers {share:.0%} busy); the server's CPU cannot be seen from here"
