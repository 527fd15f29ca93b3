"""A short stream of jobs is one statement: packed by lane, ids in the stream's order, all or none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scene import Conn, ask, states

from fastq.config import PacketConfig
from fastq.errors import ArgumentError
from fastq.job import JobSpec, Options
from fastq.job_ids import JobIds
from fastq.protocol.asking import carry_out
from fastq.protocol.copying import put_jobs
from fastq.protocol.enqueue import LINES_MOST, Line, insert_lines
from fastq.protocol.packing import FEW, Packer

PLAIN, LATER = Options(), Options(delay_s=60.0)
GROUPS = [Options(group_key=f"g{n}") for n in range(4)]


def packer() -> Packer:
    """Return one for slot 0."""
    return Packer(shard=0, limit_bytes=10_000)


def jobs(count: int, *options: Options, task: str = "t") -> Iterator[JobSpec]:
    """Yield jobs that take turns among options, each with its number."""
    return (JobSpec(task, {"n": n}, options[n % len(options)]) for n in range(count))


async def put(conn: Conn, specs: Iterator[JobSpec]) -> tuple[JobIds, Packer]:
    """Enqueue a stream, in its own way."""
    text = packer()
    return await carry_out(conn, put_jobs(specs, text, ring=lambda: True)), text


async def numbers(conn: Conn) -> dict[int, str]:
    """Return the number of each job by its id."""
    return dict(await ask(conn, "select id, payload->>'n' from fastq.job"))


async def rows(conn: Conn) -> list[tuple[str, int | None]]:
    """Return the group and the number of jobs of each row of ready, in the order of positions."""
    return await ask(conn, "select group_key, jobs from fastq.ready order by pos")


@pytest.mark.parametrize("sizes", [[2], [500, 200], [500, 500, LINES_MOST - 1000]])
async def test_alike_ones_are_packets(conn: Conn, sizes: list[int]) -> None:
    """As many as go together make a row; the ids are one range; the same commit rings."""
    ids, text = await put(conn, jobs(sum(sizes), PLAIN))
    assert list(ids) == list(range(ids[0], ids[0] + sum(sizes)))
    assert await numbers(conn) == {job: str(n) for n, job in enumerate(ids)}
    assert [size for _, size in await rows(conn)] == sizes
    assert text.rung


async def test_lanes_that_take_turns_are_packed_each(conn: Conn) -> None:
    """Each lane's jobs go together in their order, and each job has its own id in the answer."""
    ids, _ = await put(conn, jobs(1000, *GROUPS))
    assert await rows(conn) == [(options.group_key, 250) for options in GROUPS]
    assert await numbers(conn) == {job: str(n) for n, job in enumerate(ids)}


async def test_tasks_of_one_lane_keep_their_order(conn: Conn) -> None:
    """Neighbours of different tasks are not put together: their order is the stream's."""
    specs = [JobSpec("a" if n < 3 else "b" if n < 6 else "a", {"n": n}, PLAIN) for n in range(9)]
    ids, _ = await put(conn, iter(specs))
    assert list(ids) == sorted(ids)
    assert await ask(conn, "select task, jobs from fastq.ready order by pos") == [("a", 3), ("b", 3), ("a", 3)]


async def test_large_ones_among_small_ones(conn: Conn) -> None:
    """A packet ends at its bytes; a job too large for company is a row of its own."""
    specs = [JobSpec("t", {"n": n, "x": "x" * (9000 if n == 5 else 10)}, PLAIN) for n in range(10)]
    text = Packer(shard=0, limit_bytes=100_000)
    ids = await carry_out(conn, put_jobs(specs, text))
    assert await numbers(conn) == {job: str(n) for n, job in enumerate(ids)}
    assert not text.rung


async def test_packets_are_of_the_size_that_was_asked_for(conn: Conn) -> None:
    """In jobs and in bytes; gathered ones too."""
    small = PacketConfig(jobs=100, size_bytes=1000)
    text = Packer(shard=0, limit_bytes=10_000, packet=small)
    await carry_out(conn, put_jobs(jobs(300, PLAIN), text))
    lines = [Line(spec, 10_000) for spec in jobs(300, PLAIN)]
    await carry_out(conn, insert_lines(lines, gathered=True, packet=PacketConfig(jobs=7)))
    assert [size for _, size in await rows(conn)][-43:] == [7] * 42 + [6]
    ((largest, most),) = await ask(conn, "select max(length(payloads)), max(jobs) from fastq.packet")
    assert largest <= 1000
    assert most == 100


@pytest.mark.parametrize("count", [FEW, FEW + 1], ids=["a statement", "copies"])
async def test_those_with_a_time_among_others(conn: Conn, count: int) -> None:
    """Both ways give each job its place and its id."""
    ids, text = await put(conn, jobs(count, PLAIN, LATER))
    assert await numbers(conn) == {job: str(n) for n, job in enumerate(ids)}
    assert await states(conn) == {job: ("ready", "scheduled")[n % 2] for n, job in enumerate(ids)}
    assert text.rung == (count == FEW)


@pytest.mark.parametrize("options", [PLAIN, LATER], ids=["at once", "later"])
async def test_few_large_ones_are_no_statement(conn: Conn, options: Options) -> None:
    """Nothing holds all of them in memory."""
    specs = [JobSpec("t", {"n": n, "x": "x" * 1_000_000}, options) for n in range(5)]
    text = Packer(shard=0, limit_bytes=2_000_000)
    ids = await carry_out(conn, put_jobs(iter(specs), text, ring=lambda: True))
    assert await numbers(conn) == {job: str(n) for n, job in enumerate(ids)}
    assert not text.rung


async def test_one_bad_job_and_none_is_there(conn: Conn) -> None:
    """Whatever stands among them, it is refused before anything is sent."""
    specs = [*jobs(600, PLAIN), JobSpec("t", {"n": object()}, PLAIN)]
    with pytest.raises(ArgumentError, match="nothing was enqueued"):
        await put(conn, iter(specs))
    assert await states(conn) == {}


async def test_none_at_all(conn: Conn) -> None:
    """An empty stream has no ids."""
    ids, text = await put(conn, iter([]))
    assert (len(ids), text.rung) == (0, False)
