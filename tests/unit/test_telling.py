"""What a run says of its progress is written at most once a second, and the last word is, unless the run has ended."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from fastq import telling
from fastq.errors import UsageError
from fastq.telling import Teller, Telling

pytestmark = pytest.mark.unit


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the time, as a list of one."""
    now = [1000.0]
    monkeypatch.setattr(telling, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_the_first_word_is_due_at_once_and_the_next_a_second_later(clock: list[float]) -> None:
    """What is said in between counts when its time has come, as it is then."""
    told = Telling()
    assert (told.due(), told.rest_s) == (None, None)
    told.say(0, "")
    assert told.due() == (0.0, "")
    told.say(0.2, "a")
    told.say(0.3, "b")
    assert (told.due(), told.rest_s) == (None, 1.0)
    clock[0] += 0.75
    assert (told.due(), told.rest_s) == (None, 0.25)
    clock[0] += 0.25
    assert told.due() == (0.3, "b")
    assert (told.due(), told.rest_s) == (None, None)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), float("inf"), "0.5", None, True])
def test_what_is_no_share_is_refused(share: object) -> None:
    """In one sentence."""
    with pytest.raises(UsageError, match="progress is a number from 0 to 1"):
        Telling().say(share, "")  # type: ignore[arg-type]


def test_notes_that_no_column_takes(clock: list[float]) -> None:
    """Nothing that a handler has in its hands makes the job fail."""
    with pytest.raises(UsageError, match="the note of a progress is a text"):
        Telling().say(1, b"x")  # type: ignore[arg-type]
    told = Telling()
    told.say(1, "a\0b\nc\ud800" + "x" * 1000)
    due = told.due()
    assert due is not None
    assert due[1].startswith("a b c")
    assert len(due[1]) == telling.NOTE_MOST


class Page:
    """Notes what is written; unless it is `open`, writing takes for ever."""

    def __init__(self) -> None:
        self.written: list[tuple[float, str]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.twice = asyncio.Event()

    async def write(self, share: float, note: str) -> None:
        """Write it, once it may be written."""
        await self.open.wait()
        self.written.append((share, note))
        if len(self.written) == 2:
            self.twice.set()


async def test_what_came_too_soon_is_written_when_a_timer_went_off_early(clock: list[float]) -> None:
    """A millisecond is as good as none to a timer: it is looked again."""
    page = Page()
    teller = Teller(page.write)
    await teller.tell(0.1, "")
    await teller.tell(0.2, "")
    clock[0] += telling.EVERY_S - 0.0005
    teller._look()
    assert page.written == [(0.1, "")]
    clock[0] += 0.0005
    async with asyncio.timeout(20):
        await page.twice.wait()  # for the timer that was set again
    assert page.written == [(0.1, ""), (0.2, "")]


async def test_a_run_that_ends_waits_for_what_is_being_written_and_writes_no_more(clock: list[float]) -> None:
    """Its lease may be acknowledged then: what came later would stay in the table."""
    page = Page()
    teller = Teller(page.write)
    page.open.clear()
    telling_ = asyncio.create_task(teller.tell(0.1, "on its way"))
    await asyncio.sleep(0)
    ending = asyncio.create_task(teller.ended())
    await asyncio.sleep(0)
    assert not ending.done()
    page.open.set()
    await ending
    await telling_
    clock[0] += 10
    await teller.tell(0.9, "too late")
    assert page.written == [(0.1, "on its way")]
