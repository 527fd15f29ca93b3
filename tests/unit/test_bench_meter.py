"""What was spent between two readings, and what /proc says."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fastq.bench import proc
from fastq.bench.meter import Reading, between
from fastq.bench.proc import HostCpu

pytestmark = pytest.mark.unit


def test_what_was_spent_is_the_difference() -> None:
    """Wall, WAL, CPU of server and workers, busy share of the host."""
    before = Reading(at=1.0, wal_bytes=100, server_cpu_s=1.0, worker_cpu_s=(0.5, 0.5), host=HostCpu(10.0, 20.0))
    after = Reading(at=3.0, wal_bytes=300, server_cpu_s=1.5, worker_cpu_s=(0.75, 1.5), host=HostCpu(13.0, 24.0))
    spent = between(before, after)
    assert (spent.wall_s, spent.wal_bytes, spent.server_cpu_s, spent.worker_cpu_s) == (2.0, 200, 0.5, 1.25)
    assert spent.host_busy == 0.75
    assert spent.per_job(100)["wal_bytes_per_job"] == 2.0


def test_what_cannot_be_known_stays_unknown() -> None:
    """A worker that is gone makes the workers' CPU unknown, not smaller."""
    before = Reading(at=1.0, wal_bytes=None, server_cpu_s=None, worker_cpu_s=(0.5, 0.5), host=None)
    after = Reading(at=2.0, wal_bytes=1, server_cpu_s=None, worker_cpu_s=(0.7, None), host=None)
    spent = between(before, after)
    assert (spent.wal_bytes, spent.server_cpu_s, spent.worker_cpu_s, spent.host_busy) == (None, None, None, None)
    assert set(spent.per_job(10).values()) == {None}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_proc_tells_of_this_process_and_its_children() -> None:
    """CPU, parent, memory, and a living child."""
    own = proc.stat(os.getpid())
    assert own is not None
    assert own.parent == os.getppid()
    assert own.cpu_s > 0
    assert (proc.peak_rss_mb(os.getpid()) or 0) > 5
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in {stat.pid for stat in proc.children(os.getpid())}


def test_of_a_process_that_is_not_there_nothing_is_known() -> None:
    """No error, no zero."""
    assert proc.stat(2**22 + 1) is None
    assert proc.peak_rss_mb(2**22 + 1) is None
