"""Schedules in a real database: registered, due, enqueued once whoever races, dies or comes late."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from cron_scene import enqueued, make_due, register, row, schedule
from scene import Conn, ask, until_blocked

from fastq.cron import CATCH_UP_MOST, CatchUp, Plan
from fastq.protocol import cron
from fastq.steward.cron import Cron

pytestmark = pytest.mark.protocol


async def test_a_new_schedule_waits_for_its_next_occurrence(conn: Conn) -> None:
    """Its first occurrence is the first after the database's time; registering again changes nothing."""
    assert await register(conn, schedule()) == {"s": "added"}
    assert await ask(conn, "select next_at - date_trunc('hour', now()) from fastq.cron") == [(timedelta(hours=1),)]
    before = await ask(conn, "select xmin::text, next_at, seen_at from fastq.cron")
    assert await register(conn, schedule()) == {}
    assert await ask(conn, "select xmin::text, next_at, seen_at from fastq.cron") == before


async def test_a_new_expression_or_zone_counts_from_now(conn: Conn) -> None:
    """What was due under the old expression is no more; anything else that changes leaves the next occurrence."""
    await register(conn, schedule())
    await make_due(conn)
    due_at = (await row(conn))[0]
    assert await register(conn, schedule(queue="other")) == {"s": "changed"}
    assert (await row(conn))[::2] == (due_at, "other")
    assert await register(conn, schedule("30 3 1 1 *", queue="other")) == {"s": "changed"}
    new_year = (await row(conn))[0]
    assert (new_year.astimezone(UTC).month, new_year.astimezone(UTC).minute) == (1, 30)
    assert await register(conn, schedule("30 3 1 1 *", tz="Asia/Kathmandu", queue="other")) == {"s": "changed"}
    assert (await row(conn))[0] in [new_year + timedelta(days=days, minutes=-345) for days in (0, 365, 366)]


async def test_a_removed_schedule_goes_once_nobody_names_it(conn: Conn) -> None:
    """While the old version names it, it stays; the new version deletes it later; other apps' are left alone."""
    old, new, foreign = schedule(name="old"), schedule(name="new"), schedule(name="foreign")
    await register(conn, foreign, owner="other:app")
    assert await register(conn, old) == {"old": "added"}
    assert await register(conn, new) == {"new": "added"}
    await conn.execute("update fastq.cron set seen_at = now() - interval '61 s'")
    assert await register(conn, old) == {"new": "removed"}
    await conn.execute("update fastq.cron set seen_at = now() - interval '61 s'")
    assert await register(conn, new) == {"new": "added", "old": "removed"}
    assert await ask(conn, "select name from fastq.cron order by 1") == [("foreign",), ("new",)]


async def test_naming_it_again_keeps_it(conn: Conn) -> None:
    """seen_at is renewed once it has some age, without any other change."""
    await register(conn, schedule())
    await conn.execute("update fastq.cron set seen_at = now() - interval '1 hour'")
    assert await register(conn, schedule()) == {}
    assert await ask(conn, "select now() - seen_at < interval '10 s' from fastq.cron") == [(True,)]


async def test_workers_that_start_together(conn: Conn, other: Conn, third: Conn) -> None:
    """One of them adds the schedules, nobody fails."""
    many = [schedule(name=f"s{n}") for n in range(50)]
    told = await asyncio.gather(
        *(register(c, *order) for c, order in ((conn, many), (other, many[::-1]), (third, many)))
    )
    assert sorted(name for one in told for name in one) == sorted(s.name for s in many)


async def test_registering_waits_for_nobody(conn: Conn, other: Conn) -> None:
    """A row that a transaction holds is left for the next time."""
    await register(conn, schedule())
    async with other.transaction():
        await other.execute("select from fastq.cron for update")
        assert await register(conn, schedule(queue="other")) == {}
    assert await register(conn, schedule(queue="other")) == {"s": "changed"}


async def test_no_schedules_at_all(conn: Conn) -> None:
    """An app without schedules registers none, and nothing is due."""
    assert await register(conn) == {}
    assert await cron.due(conn) == cron.Due((), None)


async def test_an_occurrence_becomes_a_job(conn: Conn, clockwork: Cron) -> None:
    """The job is of the schedule's task, queue and priority, without arguments, and knows its occurrence."""
    await register(conn, schedule(tz="Europe/Athens", catch_up=CatchUp.ONE))
    await make_due(conn)
    due_at = (await row(conn))[0]
    assert await clockwork.step() > 0
    assert await ask(conn, "select task, queue, priority, payload::text, id from fastq.ready") == [
        ("t", "q", 3, "{}", None)
    ]
    (when,) = await enqueued(conn)
    assert datetime.fromisoformat(when) == due_at
    assert when.endswith(("+02:00", "+03:00"))
    assert await row(conn) == (due_at + timedelta(hours=1), due_at, "q")
    assert 0 < await clockwork.step() <= Cron.every_s
    assert len(await enqueued(conn)) == 1


@pytest.mark.parametrize(("catch_up", "jobs"), [(CatchUp.SKIP, 0), (CatchUp.ONE, 1), (CatchUp.ALL, 6)])
async def test_catching_up(conn: Conn, clockwork: Cron, catch_up: CatchUp, jobs: int) -> None:
    """After an outage of days: nothing, the newest, or each; then the next occurrence is waited for."""
    now = (await ask(conn, "select now()"))[0][0].astimezone(UTC)
    # The newest occurrence is half a day old, whatever the time is now.
    daily = f"0 {(now.hour + 12) % 24} * * *"
    await register(conn, schedule(daily, catch_up=catch_up))
    await conn.execute("update fastq.cron set next_at = next_at - interval '6 days'")
    await clockwork.step()
    found = [datetime.fromisoformat(when) for when in await enqueued(conn)]
    next_at = (await row(conn))[0]
    assert found == [next_at - timedelta(days=n) for n in range(jobs, 0, -1)]
    assert await ask(conn, "select next_at > now() from fastq.cron") == [(True,)]


async def test_what_is_due_this_minute_was_not_missed(conn: Conn, clockwork: Cron) -> None:
    """With the default policy too, a leader that comes some seconds late enqueues it."""
    await register(conn, schedule("0 0 1 1 *"))
    await conn.execute("update fastq.cron set next_at = now() - interval '20 s'")
    await clockwork.step()
    assert len(await enqueued(conn)) == 1


async def test_all_goes_on_pass_by_pass(conn: Conn, clockwork: Cron) -> None:
    """More than a pass may hold are enqueued by the passes that follow at once, in order, each once."""
    await register(conn, schedule("* * * * *", catch_up=CatchUp.ALL))
    await conn.execute("update fastq.cron set next_at = date_trunc('minute', now()) - interval '1500 minutes'")
    assert await clockwork.step() == 0.0
    assert len(await enqueued(conn)) == CATCH_UP_MOST
    assert await clockwork.step() > 0
    found = await enqueued(conn)
    assert len(set(found)) == len(found) >= 1501
    assert found == sorted(found)


async def test_leaders_that_race(conn: Conn, other: Conn, third: Conn) -> None:
    """Three that found the same occurrences due enqueue each once."""
    await register(conn, *(schedule(name=f"s{n}", catch_up=CatchUp.ONE) for n in range(40)))
    await make_due(conn)
    seen = await asyncio.gather(*(cron.due(c) for c in (conn, other, third)))

    async def enqueue(own: Conn, due: cron.Due) -> int:
        return sum([await cron.enqueue(own, s, s.schedule.plan(s.due_at, s.now)) for s in due.schedules])

    won = await asyncio.gather(*(enqueue(c, due) for c, due in zip((conn, other, third), seen, strict=True)))
    assert sum(won) == 40
    assert len(await enqueued(conn)) == 40


async def test_a_leader_that_comes_late_enqueues_nothing_though_the_next_one_is_due(conn: Conn, other: Conn) -> None:
    """What it found due has been enqueued; the occurrence after that is due as well, and another one."""
    await register(conn, schedule(catch_up=CatchUp.ONE))
    await make_due(conn, "10 min")
    ((first,), (second,)) = [(await cron.due(c)).schedules for c in (conn, other)]
    plan = replace(first.schedule.plan(first.due_at, first.now), next_at=first.due_at + timedelta(minutes=1))
    assert await cron.enqueue(conn, first, plan)
    assert not await cron.enqueue(other, second, plan)
    assert len(await enqueued(conn)) == 1


async def test_a_leader_that_sees_it_due_and_dies(conn: Conn, other: Conn, third: Conn) -> None:
    """Between its statements it holds nothing; in the middle of the last one, its server process undoes it."""
    await register(conn, schedule(catch_up=CatchUp.ONE))
    await make_due(conn)
    (found,) = (await cron.due(other)).schedules
    plan = found.schedule.plan(found.due_at, found.now)
    async with conn.transaction():
        await conn.execute("lock table fastq.ready_0")  # its insert waits here, its update is done
        dying = asyncio.create_task(cron.enqueue(other, found, plan))
        await until_blocked(conn, other)
        await third.execute("select pg_terminate_backend(%s)", (other.info.backend_pid,))
        with pytest.raises(psycopg.OperationalError):
            await dying
    assert await enqueued(conn) == []
    assert await cron.enqueue(third, found, plan)
    assert len(await enqueued(conn)) == 1


async def test_one_that_waits_for_another_enqueues_nothing(conn: Conn, other: Conn) -> None:
    """An occurrence that another leader is just enqueueing is passed by, not waited for."""
    await register(conn, schedule(catch_up=CatchUp.ONE))
    await make_due(conn)
    (found,) = (await cron.due(conn)).schedules
    plan = found.schedule.plan(found.due_at, found.now)
    async with other.transaction():
        assert await cron.enqueue(other, found, plan)
        assert not await cron.enqueue(conn, found, plan)
    assert not await cron.enqueue(conn, found, plan)
    assert len(await enqueued(conn)) == 1


async def test_a_spec_that_changed_in_between(conn: Conn) -> None:
    """What a leader planned from an old spec is refused; the new one holds."""
    await register(conn, schedule(catch_up=CatchUp.ONE))
    await make_due(conn)
    (found,) = (await cron.due(conn)).schedules
    await register(conn, schedule(queue="other", catch_up=CatchUp.ONE))
    assert not await cron.enqueue(conn, found, found.schedule.plan(found.due_at, found.now))
    assert await enqueued(conn) == []


async def test_a_plan_never_comes_before_the_databases_time(conn: Conn) -> None:
    """Whatever a leader believes, the statement enqueues nothing before the server's clock says so."""
    await register(conn, schedule())
    ((next_at, spec),) = await ask(conn, "select next_at, spec::text from fastq.cron")
    early = cron.DueSchedule("s", next_at, spec, next_at)
    assert not await cron.enqueue(conn, early, Plan(occurrences=(next_at,), next_at=next_at + timedelta(hours=1)))


async def test_what_cannot_be_read_stands_still(conn: Conn, clockwork: Cron, caplog: pytest.LogCaptureFixture) -> None:
    """A schedule of a zone that this host lacks is told of once, and holds up no other."""
    await register(conn, schedule(name="bad"), schedule(name="good", catch_up=CatchUp.ONE))
    await conn.execute(
        "update fastq.cron set spec = jsonb_set(spec::jsonb, '{tz}', '\"Mars/Olympus\"')::json where name = 'bad'"
    )
    await make_due(conn)
    await clockwork.step()
    await clockwork.step()
    assert len(await enqueued(conn)) == 1
    assert caplog.text.count("schedule bad stands still") == 1
