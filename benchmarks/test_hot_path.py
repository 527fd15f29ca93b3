"""Micro benchmarks of the hot Python pieces: `pytest benchmarks --benchmark-only`. No database.

Each figure is for a block of 1,000 jobs or 1,000 calls, as its group says: divide by a thousand for one job.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

import fastq
from fastq import codec
from fastq.protocol.claim import Lane
from fastq.protocol.enqueue import Line
from fastq.protocol.packing import Packer
from fastq.worker.batch import Batch
from fastq.worker.lanes import Lanes

N = 1000
LIMIT_BYTES = 1024 * 1024
PAYLOAD: dict[str, Any] = {"user_id": 123456, "email": "someone@example.com"}

app = fastq.App()


@app.task
async def noop(user_id: int, email: str) -> None: ...


def packed() -> bytes:
    """A claimed batch, as the database packs it."""
    return orjson.dumps([[pos, noop.name, 0, 1_700_000_000_000, PAYLOAD] for pos in range(1, N + 1)])


@pytest.mark.benchmark(group="enqueue, 1000 jobs")
def test_codec_dumps(benchmark: Any) -> None:
    """Arguments to JSON."""

    def dump() -> None:
        for _ in range(N):
            codec.dumps(PAYLOAD)

    benchmark(dump)


@pytest.mark.benchmark(group="enqueue, 1000 jobs")
def test_task_job(benchmark: Any) -> None:
    """task.job(…) with arguments by name."""
    assert len(benchmark(lambda: [noop.job(user_id=i, email="someone@example.com") for i in range(N)])) == N


@pytest.mark.benchmark(group="enqueue, 1000 jobs")
def test_task_job_by_place(benchmark: Any) -> None:
    """task.job(…) with arguments by place."""
    assert len(benchmark(lambda: [noop.job(i, "someone@example.com") for i in range(N)])) == N


@pytest.mark.benchmark(group="enqueue, 1000 jobs")
def test_copy_text_encode(benchmark: Any) -> None:
    """A block of specs to COPY text."""
    specs = [noop.job(user_id=i, email="someone@example.com") for i in range(N)]

    def encode() -> bytes:
        text = Packer(shard=0, limit_bytes=LIMIT_BYTES)
        text.begin([1024], 0, 1_700_000_000_000)
        return text.encode(specs)

    assert benchmark(encode).count(b"\n") == N


@pytest.mark.benchmark(group="enqueue, 1000 jobs")
def test_line(benchmark: Any) -> None:
    """Specs of gathered single enqueues to lines."""
    specs = [noop.job(user_id=i, email="someone@example.com") for i in range(N)]
    assert len(benchmark(lambda: [Line(spec, LIMIT_BYTES) for spec in specs])) == N


@pytest.mark.benchmark(group="run, 1000 jobs")
def test_decode_batch(benchmark: Any) -> None:
    """A claimed batch from JSON."""
    text = packed()
    assert len(benchmark(orjson.loads, text)) == N


@pytest.mark.benchmark(group="run, 1000 jobs")
def test_batch_iteration(benchmark: Any) -> None:
    """Taking all jobs out of a batch, as shards do."""
    rows, lane = orjson.loads(packed()), Lane(0, 0, "default", 4, "")

    def take() -> int:
        batch, taken = Batch(lane, 7, rows, 0.0), 0
        for _key, row in batch.remaining:
            taken += len(row) and 1
        return taken

    assert benchmark(take) == N


@pytest.mark.benchmark(group="run, 1000 jobs")
def test_arguments_opener(benchmark: Any) -> None:
    """Payloads to checked arguments: what the fast path of a worker calls."""
    opener = noop.arguments.opener
    assert len(benchmark(lambda: [opener(PAYLOAD) for _ in range(N)])) == N


@pytest.mark.benchmark(group="run, 1000 jobs")
def test_arguments_open(benchmark: Any) -> None:
    """Payloads to arguments by name: the path of jobs that want a context."""
    opened = noop.arguments.open
    assert len(benchmark(lambda: [opened(PAYLOAD) for _ in range(N)])) == N


@pytest.mark.benchmark(group="lanes, 1000 picks")
@pytest.mark.parametrize("count", [1, 10, 256])
def test_lanes_pick(benchmark: Any, count: int) -> None:
    """Choosing the lane to claim from, among so many."""
    lanes = Lanes({})
    lanes.learn((Lane(0, 0, f"queue{n % 16}", n % 4, f"group{n}"), n + 1) for n in range(count))

    def pick() -> None:
        for _ in range(N):
            lanes.pick()

    benchmark(pick)
