"""What a run says of its progress is written at most once a second, and the last word is."""

from __future__ import annotations

import pytest

from fastq import telling
from fastq.errors import UsageError
from fastq.telling import Telling

pytestmark = pytest.mark.unit


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the time, as a list of one."""
    now = [1000.0]
    monkeypatch.setattr(telling.time, "monotonic", lambda: now[0])
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
