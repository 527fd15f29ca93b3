"""How many threads are worth having."""

from __future__ import annotations

import threading

import pytest

from fastq.worker.cpu_demand import CpuDemand, CpuMeter, threads_worth

pytestmark = pytest.mark.unit


def worth(now: int, loop: float, handlers: float, *, waiting: bool = True, least: int = 1, most: int = 8) -> int:
    """Return the new number of threads."""
    return threads_worth(now, CpuDemand(loop, handlers), waiting=waiting, least=least, most=most)


def settled(handlers_alone: float, *, cpus: float = 1.0) -> int:
    """Return where it settles for functions that compute for this share of their time."""
    now = 1
    for _ in range(50):
        now = worth(now, 0.02, min(now * handlers_alone, cpus))
    return now


def test_functions_that_compute_get_one_thread() -> None:
    """However many they had, one is left, step by step."""
    now, steps = 8, 0
    while now > 1:
        now, steps = worth(now, 0.01, 0.99), steps + 1
    assert steps <= 7
    assert worth(1, 0.01, 0.99) == 1


def test_functions_that_wait_get_all_threads_at_once() -> None:
    """Nothing is known of them but that they leave the CPU alone."""
    assert worth(1, 0.01, 0.0) == 8


def test_functions_that_do_both_get_as_many_as_fill_the_cpu() -> None:
    """A quarter of the time on the CPU is about four threads."""
    assert settled(1.0) == 1
    assert settled(0.25) in (3, 4)
    assert settled(0.05) == 8


def test_nothing_changes_while_no_job_waits() -> None:
    """Threads that nobody needs are not started."""
    assert worth(3, 0.01, 0.1, waiting=False) == 3


def test_a_busy_event_loop_takes_no_threads_away() -> None:
    """Functions that wait are not what keeps the CPU busy."""
    assert worth(8, 0.95, 0.05) == 8
    assert worth(2, 0.95, 0.05) == 8


def test_where_there_are_more_cpus_there_is_a_thread_for_each() -> None:
    """Functions that release the interpreter while they compute can use them."""
    assert worth(4, 0.05, 1.0, least=4) == 4


def test_a_thread_that_computes_wants_a_cpu_and_one_that_waits_wants_none() -> None:
    """Whatever else the machine has to do: what a thread is kept waiting for counts as well."""
    stop, asleep = threading.Event(), threading.Thread(target=lambda: stop.wait())

    def compute() -> None:
        while not stop.is_set():
            sum(range(1000))

    busy = threading.Thread(target=compute)
    both = [busy, asleep]
    for thread in both:
        thread.start()
    meters = [CpuMeter() for _ in both]
    try:
        demands = []
        for _ in range(3):
            sum(range(1_000_000))
            demands.append([m.look([t.native_id or 0]).handlers for m, t in zip(meters, both, strict=True)])
    finally:
        stop.set()
        for thread in both:
            thread.join()
    assert max(computes for computes, _ in demands) > 0.2
    assert min(waits for _, waits in demands) < 0.1
