"""Wrong values in calls and decorators are one of fastq's errors, with a sentence, where they are given."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

import fastq
from fastq.protocol.packing import Packer

pytestmark = pytest.mark.unit


def shown(value: object) -> str:
    """Return a value as a test is named after it: the same in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


NONSENSE: list[Any] = ["x", "", b"x", [], {}, math.nan, -1, True, timedelta(-1)]


async def handler(n: int = 0) -> None:
    """Do nothing."""


def task() -> fastq.Task[..., Any]:
    """Return a task of an app that nobody opens."""
    return fastq.App().task(handler)


def refused(act: Callable[[], object]) -> str:
    """Return the sentence of the UsageError that is raised."""
    with pytest.raises(fastq.UsageError) as raised:
        act()
    return str(raised.value)


@pytest.mark.parametrize("value", NONSENSE, ids=shown)
@pytest.mark.parametrize(
    "option", ["backoff", "timeout", "hard_timeout", "keep", "keep_failed", "batch_wait", "retries", "batch"]
)
def test_number_of_a_task_must_be_one(option: str, value: Any) -> None:
    """The sentence names the option."""
    assert option.removeprefix("batch_") in refused(lambda: fastq.App().task(**{option: value})(handler))


@pytest.mark.parametrize("value", [0, 10**30, timedelta.max], ids=shown)
def test_timeout_that_no_clock_can_count_is_refused(value: Any) -> None:
    """Neither none at all nor more than a hundred years."""
    assert "timeout" in refused(lambda: fastq.App().task(timeout=value))


def test_keep_failed_takes_no_none() -> None:
    """For ever is math.inf."""
    assert "keep_failed" in refused(lambda: fastq.App().task(keep_failed=None))  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["", 0, [], "a\nb", "x" * 256, 5], ids=lambda name: f"{name!r:.20}")
def test_name_of_a_task_must_be_one(name: Any) -> None:
    """An empty name is not no name."""
    assert "a task's name must be" in refused(lambda: fastq.App().task(name=name)(handler))


class Callable_:  # noqa: N801 - an object that works like a function, but has no name
    """An object that can be called."""

    def __call__(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    "thing", [int, str, "x", 5, functools.partial(handler), Callable_(), Callable_, task(), object()], ids=shown
)
@pytest.mark.parametrize("decorate", ["task", "cron"])
def test_task_is_made_of_a_function(decorate: str, thing: Any) -> None:
    """Not of a class, a partial, a task that is one already, or anything else; a schedule takes a task as well."""
    app = fastq.App()
    act = app.task if decorate == "task" else app.cron("* * * * *")
    if decorate == "cron" and isinstance(thing, fastq.Task):
        return
    assert "a function" in refused(lambda: act(thing))


@pytest.mark.parametrize("value", ["x", b"", [], {}], ids=shown)
def test_delay_that_a_handler_asks_for_must_be_one(value: Any) -> None:
    """In Retry as in Snooze; more than a hundred years is a hundred years."""
    for act in (lambda: fastq.Retry(delay=value), lambda: fastq.Snooze(value)):
        assert "delay must be seconds" in refused(act)
    assert fastq.Snooze(10**400).delay_s > 3e9


@pytest.mark.parametrize("tz", [[], 5, None, "Atlantis"], ids=shown)
def test_time_zone_of_a_schedule_must_be_one(tz: Any) -> None:
    """The sentence gives an example."""
    assert "Europe/Athens" in refused(lambda: fastq.App().cron("* * * * *", tz=tz))


@pytest.mark.parametrize("thing", ["x", None, 5, int], ids=shown)
@pytest.mark.parametrize("decorate", ["middleware", "on_failure", "on_dead"])
def test_hooks_are_functions(decorate: str, thing: Any) -> None:
    """It is said when the module is imported, not when the first job fails."""
    assert "a function" in refused(lambda: getattr(fastq.App(), decorate)(thing))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("run_at", value) for value in ("2030", 0, date(2030, 1, 1), datetime(2030, 1, 1), timedelta(1), [])),
        ("run_at", datetime.max.replace(tzinfo=UTC)),
        *(("delay", value) for value in ("5", True, [], math.nan, math.inf, -1, 10**400)),
        *(("headers", value) for value in ("x", "", 0, [])),
        ("queue", ""),
        ("priority", 10),
        ("group_key", 5),
        ("unique_key", ""),
    ],
    ids=lambda value: f"{value!r:.30}",
)
def test_option_of_a_job_must_make_sense(option: str, value: Any) -> None:
    """The sentence names the option."""
    assert option in refused(lambda: task().options(**{option: value}))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("enqueue_retry_s", value) for value in NONSENSE),
        *(("packet_jobs", value) for value in ("x", 0, -1, 1.5, None, True, 1001)),
        *(("packet_bytes", value) for value in ("x", 0, -1, 1.5, None, True, 2**30)),
        *(("payload_limit_bytes", value) for value in ("x", 0, -1, 1.5, None, True)),
        *(("dsn", value) for value in (5, b"x", [])),
        *(("lifespan", value) for value in ("x", 5, int)),
    ],
    ids=lambda value: f"{value!r:.30}",
)
def test_setting_of_an_app_must_make_sense(option: str, value: Any) -> None:
    """The sentence names the setting."""
    assert option in refused(lambda: fastq.App(**{option: value}))


@pytest.mark.parametrize("thing", ["x", None, 5, task(), task().job, [task().job()], {"n": 1}], ids=shown)
def test_only_jobs_are_enqueued(thing: Any) -> None:
    """What is no job is said to be none, before any connection is asked for."""
    app = fastq.App()
    for act in (app.enqueue_sync, app.reserve_sync):
        assert "a job is what task.job(…) returns" in refused(lambda act=act: act(thing))  # type: ignore[misc]


@pytest.mark.parametrize("thing", [5, None, task()], ids=shown)
def test_only_iterables_are_enqueued_as_many(thing: Any) -> None:
    """A task is no list of its jobs."""
    assert "enqueue_many takes jobs" in refused(lambda: fastq.App().enqueue_many_sync(thing))


@pytest.mark.parametrize("thing", ["x", None, 5, task(), {"n": 1}], ids=shown)
@pytest.mark.parametrize("jobs", [1, 1000])
def test_only_jobs_are_enqueued_among_many(thing: Any, jobs: int) -> None:
    """Wherever it stands among them, in a short stream and in a long one."""
    stream = [*(task().job(n=n) for n in range(jobs)), thing]
    text = Packer(shard=0, limit_bytes=1000)

    def act() -> None:
        _, rest = text.brief(iter(stream))
        text.begin([1], 0, 0)
        text.encode(list(rest))

    assert "a job is what task.job(…) returns" in refused(act)


def test_state_of_a_lifespan_without_annotation_is_explained() -> None:
    """A parameter that would be injected is taken for one of the job's; the error says what is missing."""

    class State:
        """What handlers share."""

    @asynccontextmanager
    async def lifespan(app: fastq.App):  # type: ignore[no-untyped-def]
        yield State()

    @asynccontextmanager
    async def annotated(app: fastq.App) -> AsyncIterator[State]:
        yield State()

    async def ask(state: State) -> None: ...

    ask.__annotations__["state"] = annotated.__wrapped__.__annotations__["return"] = State
    vague = fastq.App(lifespan=lifespan).task(name="ask")(ask)
    with pytest.raises(fastq.ArgumentError, match=r"needs 'state' .*annotate it, as in .*AsyncIterator\[State\]"):
        vague.job()
