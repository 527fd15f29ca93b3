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
        return _all_busy(used, spent.host_busy * cpus - server - workers, cpus)
    if workers >= _BUSY_PROCESS * processes:
        return f"the CPU of the worker processes, more of them would help ({used})"
    if server >= _BUSY_PROCESS * processes:
        return f"PostgreSQL's CPU, one per claiming connection ({used})"
    if server + workers >= _BUSY_PROCESS * processes:
        return f"turns: each process and its connection wait for each other, more processes would help ({used})"
    return f"waiting for flushes, locks or the network: nobody's CPU is busy ({used})"


def of_flow(spent: Spent, client_cpu_s: float | None, *, processes: int, producers: int, cpus: int, full: bool) -> str:
    """Return what kept producers and workers together from being faster; `full` says that producers had to pause."""
    if spent.server_cpu_s is None or spent.worker_cpu_s is None or client_cpu_s is None or spent.wall_s <= 0:
        return "the workers: producers had to pause" if full else "the producers: workers had nothing left to run"
    clients = client_cpu_s / spent.wall_s
    if busy := _host(spent, clients, cpus):
        return busy
    if full:
        return "the workers, producers had to pause: " + of_drain(spent, processes=processes, cpus=cpus)
    used = _used(spent, clients, cpus)
    if clients >= _BUSY_PROCESS * producers:
        return f"the CPU of the producers, workers had nothing left to run ({used})"
    return f"the producers' COPY and its commit, workers had nothing left to run ({used})"


def of_load(spent: Spent, client_cpu_s: float | None, *, cpus: int, pace_ms: float) -> str:
    """Return what made jobs late at the highest load."""
    if spent.server_cpu_s is None or spent.worker_cpu_s is None or client_cpu_s is None or spent.wall_s <= 0:
        return "unknown: not all CPU meters can be read here"
    if busy := _host(spent, client_cpu_s / spent.wall_s, cpus):
        return busy
    used = _used(spent, client_cpu_s / spent.wall_s, cpus)
    return f"the way of a job: producers send every {pace_ms:.0f} ms, commit, NOTIFY, claim ({used})"


def _used(spent: Spent, clients: float, cpus: int) -> str:
    server, workers = (spent.server_cpu_s or 0.0) / spent.wall_s, (spent.worker_cpu_s or 0.0) / spent.wall_s
    return f"PostgreSQL {server:.2f}, workers {workers:.2f}, producers {clients:.2f} of {cpus} CPUs"


def _host(spent: Spent, clients: float, cpus: int) -> str | None:
    """Return the limit if it is the CPUs of this host."""
    if spent.host_busy is None or spent.host_busy < _BUSY_HOST:
        return None
    known = ((spent.server_cpu_s or 0.0) + (spent.worker_cpu_s or 0.0)) / spent.wall_s + clients
    return _all_busy(_used(spent, clients, cpus), spent.host_busy * cpus - known, cpus)


def _all_busy(used: str, others: float, cpus: int) -> str:
    also = f", other processes {others:.2f}" if others > 0.1 * cpus else ""
    return f"the CPUs of this host, all busy ({used}{also})"


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
