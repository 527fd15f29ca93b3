"""What the database refuses at the door, in one sentence, and from when a delay counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from psycopg.errors import CheckViolation, InvalidParameterValue
from scene import Conn, ask, states

from fastq.errors import UsageError
from fastq.job import JobSpec, Options
from fastq.protocol import copying, enqueue, packing
from fastq.protocol.asking import carry_out
from fastq.protocol.jobs import JobFilter, survey

pytestmark = pytest.mark.protocol


def nested(levels: int) -> str:
    """Return headers with so many lists in each other."""
    return '{"a":' + "[" * levels + "]" * levels + "}"


TIMES = [
    ("run_at => 'infinity'", "run_at must be a time between the years 1 and 9999, not infinity"),
    ("run_at => '-infinity'", "run_at must be a time between the years 1 and 9999, not -infinity"),
    ("run_at => '10000-01-01'", "run_at must be a time between the years 1 and 9999"),
    ("run_at => '9999-12-31 23:00-12'", "run_at must be a time between the years 1 and 9999"),
    ("run_at => '0044-03-15 BC'", "run_at must be a time between the years 1 and 9999"),
    ("delay => '20000 years'", "delay must be between 0 and 100 years, not 20000 years"),
    ("delay => '-1 second'", "delay must be between 0 and 100 years, not -00:00:01"),
]
HEADERS = [nested(300), nested(101), '{"a":"' + "x" * 65536 + '"}', "[1]", "5", "null", '"a"']


@pytest.mark.parametrize("function", ["enqueue", "reserve"])
@pytest.mark.parametrize(("when", "sentence"), TIMES)
async def test_a_time_that_no_client_can_read_is_refused(conn: Conn, function: str, when: str, sentence: str) -> None:
    """By fastq.enqueue and by fastq.reserve, in a sentence that names what was wrong; nothing was enqueued."""
    with pytest.raises(InvalidParameterValue, match=f"fastq.{function}: {sentence}"):
        await conn.execute(f"select fastq.{function}('t', {when})")
    assert await states(conn) == {}


async def test_an_endless_interval_is_refused(conn: Conn) -> None:
    """PostgreSQL has them since 17."""
    if conn.info.server_version < 170000:
        pytest.skip("before PostgreSQL 17 no interval is endless")
    for sign in ("", "-"):
        with pytest.raises(InvalidParameterValue, match=f"not {sign}infinity"):
            await conn.execute(f"select fastq.enqueue('t', delay => '{sign}infinity')")


@pytest.mark.parametrize("expires", ["null", "'0'", "'-1 s'", "'20000 years'"])
async def test_a_reservation_has_an_end(conn: Conn, expires: str) -> None:
    """More than 0 and at most 100 years."""
    with pytest.raises(InvalidParameterValue, match="expires must be a time greater than 0, of at most 100 years"):
        await conn.execute(f"select fastq.reserve('t', expires => {expires})")


@pytest.mark.parametrize("until", ["0", "-1 hour", "20000 years", "soon"])
async def test_a_key_is_held_for_a_time_that_has_an_end(conn: Conn, until: str) -> None:
    """The sentence says what may stand there."""
    with pytest.raises(InvalidParameterValue, match=f"or a time of at most 100 years, not {until}"):
        await conn.execute("select fastq.enqueue('t', unique_key => 'k', unique_until => %s)", [until])


@pytest.mark.parametrize("function", ["enqueue", "reserve"])
@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: headers[:12])
async def test_headers_that_workers_could_not_carry_are_refused(conn: Conn, function: str, headers: str) -> None:
    """Too deep, too large or no object."""
    with pytest.raises(
        InvalidParameterValue, match="headers must be a json object of at most 64 kB, nested at most 100"
    ):
        await conn.execute(f"select fastq.{function}('t', headers => %s::json)", [headers])
    assert await states(conn) == {}


async def test_headers_may_hold_any_words_and_brackets(conn: Conn) -> None:
    """Brackets in texts do not nest, and inside of the headers the words of workers are words like others."""
    brackets = '{"errors": 1, "crashes": "x", "checkpoint": {"a": "' + '[{\\"' * 300 + '"}}'
    many = '{"a": [' + ",".join(["[]"] * 300) + "]}"
    for headers in (nested(98), brackets, many, '{"errors\\u0000": "\\u0000"}'):
        await conn.execute("select fastq.enqueue('t', headers => %s::json)", [headers])
        await conn.execute("select fastq.enqueue('t', headers => %s::json, delay => '1 hour')", [headers])
    assert len(await carry_out(conn, survey(JobFilter(task="t"), 100))) == 8


FIT = {
    "ready_1": "(task, {}) values ('t', {})",
    "scheduled": "(shard, id, run_at, task, {}) values (0, 1, now(), 't', {})",
    "line": "(shard, pos, queue, group_key, task, {}) values (0, 1, 'q', 'g', 't', {})",
    "finished": "(shard, id, state, priority, queue, group_key, task, attempt, enqueued_ms, {}) values "
    "(0, 1, 'failed', 4, 'q', '', 't', 0, 0, {})",
}


@pytest.mark.parametrize("table", FIT)
@pytest.mark.parametrize(("column", "value"), [("meta", "'[1]'"), ("meta", "'5'"), ("meta", "'null'")])
async def test_meta_is_an_object(conn: Conn, table: str, column: str, value: str) -> None:
    """In every table that holds jobs."""
    with pytest.raises(CheckViolation, match="_fits"):
        await conn.execute(f"insert into fastq.{table} {FIT[table].format(column, value)}")


@pytest.mark.parametrize("table", ["ready_1", "scheduled", "line"])
@pytest.mark.parametrize("value", ["-1", "253402214400000", "9223372036854775807"])
async def test_the_time_of_the_enqueue_can_be_read(conn: Conn, table: str, value: str) -> None:
    """Between 1970 and 9999."""
    with pytest.raises(CheckViolation, match="_fits"):
        await conn.execute(f"insert into fastq.{table} {FIT[table].format('enqueued_ms', value)}")


@pytest.mark.parametrize("meta", ['{"crashes": "x"}', '{"errors": 5}', '{"checkpoint": 1}', nested(300)])
async def test_a_new_job_has_no_past(conn: Conn, meta: str) -> None:
    """What only workers write is refused where a producer writes; where a worker puts a job back it is not."""
    with pytest.raises(CheckViolation, match="_fits"):
        await conn.execute("insert into fastq.ready_1 (task, meta) values ('t', %s::json)", [meta])
    with pytest.raises(InvalidParameterValue):
        await conn.execute("select fastq.put_lines(0, %s)", [f"\t\t\t60\t\tq\t4\tt\t\t{meta}\t{{}}"])
    with pytest.raises(InvalidParameterValue):
        await conn.execute(
            "select fastq.reserve_job(0, 60, null, null, 'q', 4::int2, '', 't', '{}', %s::json, null, 'finished')",
            [meta],
        )
    await conn.execute("insert into fastq.ready_1 (id, task, meta) values (7, 't', %s::json)", [meta])
    assert await states(conn) == {7: "ready"}


@pytest.mark.parametrize(
    "run_at",
    [
        datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12))),
        datetime.max.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    ],
)
async def test_a_time_at_the_edge_is_refused_in_python(run_at: datetime) -> None:
    """Where another time zone's calendar has no such day."""
    with pytest.raises(UsageError, match="run_at must be a time between the years 1 and 9999 in every time zone"):
        Options(run_at=run_at)


async def test_the_last_times_that_python_lets_through_can_be_enqueued_and_read(conn: Conn) -> None:
    """In the time zones that are farthest from UTC."""
    edges = (datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))
    await carry_out(conn, enqueue.insert_lines([line(run_at=edge) for edge in edges]))
    for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
        await conn.execute(f"set timezone = '{zone}'")
        assert {job.run_at for job in await carry_out(conn, survey(JobFilter(), 9))} == set(edges)
    await conn.execute("reset timezone")


@pytest.mark.parametrize("headers", [{"a": "x" * 65536}, {"a": [["b"] * 9]}])
def test_headers_in_python_have_the_same_bounds(headers: dict[str, Any]) -> None:
    """64 kB, and 100 levels."""
    deep: Any = 1
    for _ in range(99 if "a" in headers and isinstance(headers["a"], list) else 0):
        deep = [deep]
    with pytest.raises(UsageError, match="headers may have 64 kB of JSON, nested 100 levels deep"):
        Options(headers={**headers, "b": deep})


def line(**options: Any) -> enqueue.Line:
    """Return a job with these options."""
    return enqueue.Line(JobSpec("t", {}, Options(**options)), 1000)


WAYS = {
    "sql": "select fastq.enqueue('t', delay => '1 hour')",
    "sql, ordered": "select fastq.enqueue('t', delay => '1 hour', group_key => 'g', ordered => true)",
    "sql, unique": "select fastq.enqueue('t', delay => '1 hour', unique_key => 'k')",
    "commit": "select fastq.commit(fastq.reserve('t', delay => '1 hour'))",
}


async def test_a_delay_counts_from_the_call_and_not_from_the_transactions_start(conn: Conn) -> None:
    """By SQL, as lines, by COPY, with headers, in order, as unique jobs and as reserved ones."""
    count = len(WAYS) + 3 + 300
    async with conn.transaction():
        ((begun,),) = await ask(conn, "select now()")
        ((before,),) = await ask(conn, "select clock_timestamp() from pg_sleep(0.01)")  # so that the two clocks differ
        for call in WAYS.values():
            await conn.execute(call)
        await carry_out(conn, enqueue.insert_lines([line(delay_s=3600.0), line(delay_s=3600.0, headers={"a": 1})]))
        apart = enqueue.Apart(JobSpec("t", {}, Options(delay_s=3600.0, unique_key="u")), 1000)
        await carry_out(conn, enqueue.insert_apart(apart))
        plain, rich = Options(delay_s=3600.0), Options(delay_s=3600.0, headers={"a": 1})
        specs = [JobSpec("t", {"n": n}, rich if n % 100 == 0 else plain) for n in range(300)]
        await carry_out(conn, copying.copy_jobs(specs, packing.Packer(shard=0, limit_bytes=1000)))
        rows = await ask(conn, "select run_at, state, meta is not null from fastq.job")
    assert len(rows) == count
    assert sum(has_meta for _, _, has_meta in rows) == 3 + 2 + 2
    early = [row for row in rows if row[0] < before + timedelta(hours=1) - timedelta(milliseconds=1)]
    assert (early, begun < before) == ([], True)


async def test_what_strangers_wrote_into_meta_breaks_no_listing(conn: Conn) -> None:
    """A key that is none, errors that are none, arguments nested too deeply to be written again."""
    odd = [
        '{"unique": 5}', '{"unique": ["k"]}', '{"unique": ["k", "nonsense"]}', '{"unique": {"a": 1}}', '{"errors": 5}',
        '{"errors": [1, {"message": "m"}]}', '{"crashes": "x"}', '{"headers": [1]}', nested(300),
    ]  # fmt: skip
    for n, meta in enumerate(odd, 1):
        await conn.execute(
            "insert into fastq.finished"
            " (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)"
            " values (0, %s, 'failed', 4, 1, 0, 'q', '', 't', '{}', %s::json)", [n, meta],
        )  # fmt: skip
    await conn.execute("select fastq.enqueue('t', %s::json)", ['{"a":' + "[" * 300 + "]" * 300 + "}"])
    assert len(await carry_out(conn, survey(JobFilter(), 100))) == len(odd) + 1
    assert len(await ask(conn, "select unique_key from fastq.job")) == len(odd) + 1
    assert await ask(conn, "select fastq.retry_jobs()") == [(len(odd),)]
