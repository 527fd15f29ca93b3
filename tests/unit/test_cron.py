"""When schedules are due: tables of real clock changes, an oracle that counts minutes, what catching up enqueues."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastq
from fastq.cron import CATCH_UP_MOST, LATE_S, NEVER, CatchUp, Schedule, Timing

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)


def at(text: str) -> datetime:
    """Return an instant from ISO text; UTC where it names no offset."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def local_times(expression: str, tz: str, day: str) -> list[str]:
    """Return the occurrences of a local day, as the zone writes them."""
    timing = Timing(expression=expression, tz=tz)
    before = at(day) - timedelta(days=3)
    due = takewhile(lambda found: found < before + timedelta(days=6), timing.after(before))
    return [local.strftime("%H:%M%z") for local in map(timing.local, due) if local.date() == at(day).date()]


@pytest.mark.parametrize(
    ("expression", "tz", "day", "times"),
    [
        # Athens: 03:00 to 04:00 on 2026-03-29 does not exist, on 2026-10-25 it comes twice.
        ("30 3 * * *", "Europe/Athens", "2026-03-29", ["04:00+0300"]),
        ("0 3 * * *", "Europe/Athens", "2026-03-29", ["04:00+0300"]),
        ("0 4 * * *", "Europe/Athens", "2026-03-29", ["04:00+0300"]),
        ("30 2,3,4 * * *", "Europe/Athens", "2026-03-29", ["02:30+0200", "04:00+0300", "04:30+0300"]),
        ("*/20 3 * * *", "Europe/Athens", "2026-03-29", ["04:00+0300"]),
        (
            "0 */3 * * *",
            "Europe/Athens",
            "2026-03-29",
            [f"{h:02}:00+0{2 + (h > 3)}00" for h in (0, 4, 6, 9, 12, 15, 18, 21)],
        ),
        ("30 3 * * *", "Europe/Athens", "2026-10-25", ["03:30+0300"]),
        ("*/20 3 * * *", "Europe/Athens", "2026-10-25", ["03:00+0300", "03:20+0300", "03:40+0300"]),
        ("0 4 * * *", "Europe/Athens", "2026-10-25", ["04:00+0200"]),
        # New York: 02:00 on 2026-03-08, 01:00 on 2026-11-01.
        ("30 2 * * *", "America/New_York", "2026-03-08", ["03:00-0400"]),
        ("15 1 * * *", "America/New_York", "2026-11-01", ["01:15-0400"]),
        # Lord Howe moves its clocks by half an hour: 02:00 on 2026-10-04, back on 2026-04-05.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", ["02:30+1100"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05", ["01:45+1100"]),
        # In Cairo it is midnight that does not exist, on 2026-04-24.
        ("0 0 * * FRI", "Africa/Cairo", "2026-04-24", ["01:00+0300"]),
        # In Havana it is midnight that comes twice, on 2026-11-01.
        ("30 0 * * *", "America/Havana", "2026-11-01", ["00:30-0400"]),
        # Troll moves by two hours, at 01:00 UTC.
        ("30 1,2 * * *", "Antarctica/Troll", "2026-03-29", ["03:00+0200"]),
        ("30 1,2 * * *", "Antarctica/Troll", "2026-10-25", ["01:30+0200", "02:30+0200"]),
        # Samoa skipped a whole day: 2011-12-30.
        ("0 12 30 12 *", "Pacific/Apia", "2011-12-31", ["00:00+1400"]),
        # No clock changes.
        ("45 5 * * *", "Asia/Kathmandu", "2026-03-29", ["05:45+0545"]),
    ],
)
def test_wall_clock_times(expression: str, tz: str, day: str, times: list[str]) -> None:
    """A time that does not exist is due at the next instant that does, one that comes twice is due once."""
    assert local_times(expression, tz, day) == times


@pytest.mark.parametrize(
    ("day", "count"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)], ids=["spring", "autumn", "summer"]
)
@pytest.mark.parametrize(("expression", "each_hour"), [("*/15 * * * *", 4), ("30 * * * *", 1), ("30 0-23 * * *", 1)])
def test_every_hour_means_elapsed_hours(expression: str, each_hour: int, day: str, count: int) -> None:
    """With every hour in its field, an expression makes no gap and no second run at clock changes."""
    zone, timing = ZoneInfo("Europe/Athens"), Timing(expression=expression, tz="Europe/Athens")
    start = datetime.fromisoformat(day).replace(tzinfo=zone).astimezone(UTC)
    end = (datetime.fromisoformat(day) + timedelta(days=1)).replace(tzinfo=zone).astimezone(UTC)
    due = list(takewhile(lambda found: found < end, timing.after(start - timedelta(seconds=1))))
    assert len(due) == count * each_hour
    assert {b - a for a, b in pairwise(due)} == {timedelta(hours=1) / each_hour}


def test_seconds() -> None:
    """Six fields: the first is seconds."""
    assert list(islice(Timing(expression="*/20 * * * * *").after(at("2026-01-01T00:00:05")), 3)) == [
        at("2026-01-01T00:00:20"),
        at("2026-01-01T00:00:40"),
        at("2026-01-01T00:01:00"),
    ]


@pytest.mark.parametrize("name", ["@hourly", "@daily", "@Midnight", "@weekly", "@monthly", "@yearly", "@annually"])
def test_nicknames(name: str) -> None:
    """The nicknames of crontab are on the hour."""
    assert Timing(expression=name).next_after(NOW).minute == 0


@pytest.mark.parametrize(
    "expression", ["", "* * * *", "61 * * * *", "* * * * * * *", "0 0 31 2 *", "x", "*/0 * * * *", "1-0 * * * *", "-"]
)
def test_what_is_no_expression(expression: str) -> None:
    """What cannot be read, or never comes true, is refused when it is written."""
    with pytest.raises(fastq.UsageError, match=r"is no cron expression|never comes true"):
        Timing(expression=expression)


def test_never_comes_true() -> None:
    """An expression without an occurrence in fifty years is refused."""
    with pytest.raises(fastq.UsageError, match="never comes true"):
        Timing(expression="* * */20 * 1L")


@pytest.mark.parametrize("tz", ["Europe/Atlantis", "", "../etc/passwd", "Europe", "+02:00"])
def test_no_such_zone(tz: str) -> None:
    """A zone that is not there is refused, with the way out."""
    with pytest.raises(fastq.UsageError, match="pip install tzdata"):
        Timing(expression="* * * * *", tz=tz)


# -- an oracle


ZONES = (
    "UTC",
    "Europe/Athens",
    "America/New_York",
    "Africa/Cairo",
    "America/Havana",
    "America/Santiago",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
)
DAYS = 3
"""The oracle looks at every minute of so many days."""


def change_near(tz: str, day: datetime) -> datetime:
    """Return the beginning of the days around a zone's next clock change, in UTC; `day` where there is none."""
    zone = ZoneInfo(tz)
    for n in range(366):
        here, there = (day + timedelta(days=n)).astimezone(zone), (day + timedelta(days=n + 1)).astimezone(zone)
        if here.utcoffset() != there.utcoffset():
            return day + timedelta(days=n - 1)
    return day


def minutes_of(tz: str, start: datetime) -> dict[datetime, datetime]:
    """Return what the zone's clock shows at every minute, by instant."""
    zone = ZoneInfo(tz)
    instants = (start + timedelta(minutes=n) for n in range(DAYS * 1440))
    return {instant: instant.astimezone(zone).replace(tzinfo=None) for instant in instants}


def oracle(shown: dict[datetime, datetime], minutes: set[int], hours: set[int]) -> set[datetime]:
    """Return when a schedule is due, by looking at every minute that clocks show or jump over."""
    first: dict[datetime, datetime] = {}
    for instant, wall in shown.items():
        first.setdefault(wall, instant)
    walls = sorted(first)
    due, upcoming, wall = set(), iter(walls), walls[0]
    following = next(upcoming)
    while wall <= walls[-1]:
        while following < wall:
            following = next(upcoming)
        if wall.minute in minutes and wall.hour in hours:
            due.add(first[following])
        wall += timedelta(minutes=1)
    return due


def field(values: set[int]) -> str:
    """Return the numbers as a field of an expression."""
    return ",".join(map(str, sorted(values)))


DAY = st.dates(datetime(2024, 1, 1).date(), datetime(2032, 1, 1).date())
MINUTES = st.sets(st.integers(0, 59), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(tz=st.sampled_from(ZONES), day=DAY, minutes=MINUTES, hours=st.sets(st.integers(0, 23), min_size=1, max_size=6))
def test_wall_clock_times_are_those_of_the_oracle(tz: str, day: datetime, minutes: set[int], hours: set[int]) -> None:
    """Around any clock change, each local time is due once: where it is shown first, or where it is jumped over."""
    start = change_near(tz, datetime(day.year, day.month, day.day, tzinfo=UTC))
    shown = minutes_of(tz, start)
    timing = Timing(expression=f"{field(minutes)} {field(hours)} * * *", tz=tz)
    end = max(shown)
    found = set(takewhile(lambda due: due <= end, timing.after(start - timedelta(seconds=1))))
    assert found == oracle(shown, minutes, hours)


@settings(max_examples=40, deadline=None)
@given(tz=st.sampled_from([z for z in ZONES if "Howe" not in z]), day=DAY, minutes=MINUTES)
def test_elapsed_time_is_that_of_the_oracle(tz: str, day: datetime, minutes: set[int]) -> None:
    """Around any change by whole hours, each instant that shows the minute is due."""
    start = change_near(tz, datetime(day.year, day.month, day.day, tzinfo=UTC))
    shown = minutes_of(tz, start)
    timing = Timing(expression=f"{field(minutes)} * * * *", tz=tz)
    found = list(takewhile(lambda due: due <= max(shown), timing.after(start - timedelta(seconds=1))))
    assert found == [instant for instant, wall in shown.items() if wall.minute in minutes]


@settings(max_examples=60, deadline=None)
@given(
    tz=st.sampled_from(ZONES),
    expression=st.sampled_from(["*/7 * * * *", "30 2,3 * * *", "0 0 1 * *", "5 */5 * * MON", "*/30 * 3 * * *"]),
    since_s=st.integers(0, 10**8),
    for_s=st.integers(0, 10**6),
)
def test_newest_is_the_last_of_all(tz: str, expression: str, since_s: int, for_s: int) -> None:
    """Looking back finds what going forward ends with, and going on from any occurrence skips and repeats none."""
    timing = Timing(expression=expression, tz=tz)
    since = at("2024-01-01") + timedelta(seconds=since_s)
    now = since + timedelta(seconds=for_s)
    every = list(takewhile(lambda due: due <= now, timing.after(since)))
    assert timing.newest(since, now) == (every[-1] if every else since)
    assert all(a < b and timing.next_after(a) == b for a, b in pairwise(every[-20:]))


# -- what catching up enqueues


def schedule(catch_up: CatchUp, expression: str = "0 * * * *") -> Schedule:
    """Return a schedule of that policy."""
    timing = Timing(expression=expression)
    return Schedule(name="s", timing=timing, task="t", queue="q", priority=4, catch_up=catch_up)


@pytest.mark.parametrize(
    ("catch_up", "due_at", "now", "occurrences", "next_at"),
    [
        *((policy, "09:00:00", "09:00:00", ["09:00:00"], "10:00:00") for policy in CatchUp),
        (CatchUp.SKIP, "09:00:00", "09:00:59", ["09:00:00"], "10:00:00"),
        (CatchUp.SKIP, "09:00:00", "09:02:00", [], "10:00:00"),
        (CatchUp.SKIP, "09:00:00", "12:00:01", ["12:00:00"], "13:00:00"),
        (CatchUp.SKIP, "09:00:00", "12:30:00", [], "13:00:00"),
        (CatchUp.ONE, "09:00:00", "12:30:00", ["12:00:00"], "13:00:00"),
        (CatchUp.ONE, "09:00:00", "09:30:00", ["09:00:00"], "10:00:00"),
        (CatchUp.ALL, "09:00:00", "12:30:00", ["09:00:00", "10:00:00", "11:00:00", "12:00:00"], "13:00:00"),
        # a time that somebody wrote into the table counts as an occurrence
        (CatchUp.ALL, "09:17:00", "10:30:00", ["09:17:00", "10:00:00"], "11:00:00"),
        (CatchUp.SKIP, "09:17:00", "09:17:01", ["09:17:00"], "10:00:00"),
    ],
)
def test_catch_up(catch_up: CatchUp, due_at: str, now: str, occurrences: list[str], next_at: str) -> None:
    """Skip: only what is due this minute; one: the newest; all: each."""
    plan = schedule(catch_up).plan(at(f"2026-01-01T{due_at}"), at(f"2026-01-01T{now}"))
    assert [due.strftime("%H:%M:%S") for due in plan.occurrences] == occurrences
    assert plan.next_at == at(f"2026-01-01T{next_at}")


def test_all_is_bounded_and_goes_on() -> None:
    """A pass enqueues a bounded number, and the next one the rest, each once."""
    plan, seen = schedule(CatchUp.ALL, "* * * * *").plan(at("2026-01-01"), at("2026-01-02")), []
    while plan.occurrences[0] <= at("2026-01-02"):
        assert len(plan.occurrences) <= CATCH_UP_MOST
        seen += plan.occurrences
        if plan.next_at > at("2026-01-02"):
            break
        plan = schedule(CatchUp.ALL, "* * * * *").plan(plan.next_at, at("2026-01-02"))
    assert seen == [at("2026-01-01") + timedelta(minutes=n) for n in range(1441)]


def test_an_outage_of_years_costs_no_more_than_a_minute() -> None:
    """Skip and one find the newest occurrence without counting all that were missed."""
    plan = schedule(CatchUp.ONE, "* * * * * *").plan(at("2000-01-01"), NOW)
    assert plan.occurrences == (NOW,)
    assert schedule(CatchUp.SKIP, "0 0 29 2 *").plan(at("2024-02-29"), NOW).occurrences == ()
    assert LATE_S < 3600 * 24


def test_never() -> None:
    """An expression that has come to its end waits for ever."""
    assert Timing(expression="0 0 * 2 MON#5").next_after(at("2050-01-01")) > at("2072-01-01")
    assert at("9999-01-01") < NEVER


# -- the decorator


def test_a_function_becomes_a_task_with_a_schedule() -> None:
    """A bare function is registered as a task; a task keeps its own options."""
    app = fastq.App()

    @app.cron("*/5 * * * *", tz="Europe/Athens")
    async def refresh() -> None: ...

    @app.cron("@daily", catch_up="all")
    @app.task(queue="reports", priority=1, name="nightly")
    def report(ctx: fastq.Context, full: bool = False) -> None: ...

    assert isinstance(refresh, fastq.Task)
    assert set(app.tasks) == set(app.schedules) == {refresh.name, "nightly"}
    found = app.schedules["nightly"]
    assert (found.task, found.queue, found.priority, found.catch_up) == ("nightly", "reports", 1, CatchUp.ALL)
    assert Schedule.of("nightly", found.spec) == found


def test_what_the_decorator_refuses() -> None:
    """Arguments without defaults, unknown policies, and two schedules for one task are refused at once."""
    app = fastq.App()
    with pytest.raises(fastq.UsageError, match="catch_up must be"):
        app.cron("* * * * *", catch_up="none")  # type: ignore[arg-type]
    with pytest.raises(fastq.ArgumentError, match="needs 'n'"):

        @app.cron("* * * * *")
        async def needs(n: int) -> None: ...

    with pytest.raises(fastq.UsageError, match="has a schedule already"):

        @app.cron("* * * * *")
        @app.cron("0 * * * *")
        async def twice() -> None: ...


@pytest.mark.parametrize("spec", [{}, {"catch_up": "some"}, {"priority": "x"}, {"tz": "Mars/Olympus"}])
def test_a_spec_from_elsewhere(spec: dict[str, str | int]) -> None:
    """What a newer fastq wrote, or names a zone that this host lacks, is a sentence and no crash."""
    with pytest.raises(fastq.UsageError):
        Schedule.of("s", (schedule(CatchUp.SKIP).spec | spec) if spec else {})
