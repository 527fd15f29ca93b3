"""Looking rarely while nothing happens."""

from __future__ import annotations

import asyncio

import pytest

from fastq.host.board import Board
from fastq.steward import stir
from fastq.steward.duty import LeadersDuty
from fastq.steward.leader import Leader
from fastq.steward.stir import Stir

pytestmark = pytest.mark.unit

LONG_S = 3600.0


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be quiet as soon as nothing happens."""
    monkeypatch.setattr(stir, "QUIET_AFTER_S", -1.0)


async def test_it_is_quiet_only_where_notifications_are_heard() -> None:
    """Otherwise nobody knows."""
    deaf, hears = Stir(), Stir(Board(cells=1, running=1))
    deaf.listening = hears.listening = True
    assert (deaf.quiet, hears.quiet) == (False, True)
    hears.listening = False
    assert not hears.quiet
    await deaf.pause(0.0, quiet_s=LONG_S)


async def test_whoever_waits_in_the_quiet_is_woken() -> None:
    """All of them, each time."""
    found = Stir(Board(cells=1, running=1))
    found.listening = True
    for _ in range(2):
        waiting = [asyncio.create_task(found.pause(0.0, quiet_s=LONG_S)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        found.heard()
        await asyncio.wait_for(asyncio.gather(*waiting), 20)


class Counting(LeadersDuty):
    """Counts its steps."""

    every_s = 0.0

    def __init__(self, leader: Leader) -> None:
        super().__init__(None, leader, shards=1)  # type: ignore[arg-type]
        self.steps = 0
        self.stepped = asyncio.Event()

    async def step(self) -> float:
        """Count."""
        self.steps += 1
        self.stepped.set()
        return self.every_s


async def test_a_duty_rests_in_the_quiet_until_something_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on when something happens, or when the time comes of what it knows of."""
    heard = Stir(Board(cells=1, running=1))
    heard.listening = True
    leader = Leader(None, holder="here", stir=heard)  # type: ignore[arg-type]
    leader._until = float("inf")
    duty = Counting(leader)
    duty.quiet_s = LONG_S
    running = asyncio.create_task(duty.run())
    try:
        await asyncio.wait_for(duty.stepped.wait(), 20)
        for _ in range(3):
            await asyncio.sleep(0)
        assert duty.steps == 1
        duty.stepped.clear()
        duty.due_s = 0.0
        heard.heard()
        await asyncio.wait_for(duty.stepped.wait(), 20)
        while duty.steps < 5:  # noqa: ASYNC110 - it steps without a pause
            await asyncio.sleep(0)
    finally:
        running.cancel()
