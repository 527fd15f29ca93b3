"""Enqueues the due occurrences of all schedules, on the host that leads, and says which of them nobody declares."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from time import monotonic

import psycopg

from fastq.cron import Plan
from fastq.errors import UsageError
from fastq.link import Link
from fastq.protocol import cron, schedules, upkeep
from fastq.steward.leader import Leader

log = logging.getLogger("fastq.steward")

LOOK_EVERY_S = 1.0
LOOK_FOR_ORPHANS_EVERY_S = 60.0
ORPHAN_S = 600.0
"""A schedule that no worker declares for so long is told of: a restart or a deployment takes less."""
TELL_EVERY_S = 86400.0


class Cron:
    """The clockwork. Safe to run on two hosts at once: the statement lets one of them through."""

    def __init__(self, link: Link, leader: Leader) -> None:
        self._link = link
        self._leader = leader
        self._unreadable: dict[str, str] = {}
        self._told: dict[tuple[str, bool], float] = {}

    async def run(self) -> None:
        """Enqueue occurrences at their time, until cancelled."""
        while True:
            pause_s = await self.step() if self._leader.leading else LOOK_EVERY_S
            await asyncio.sleep(pause_s)

    async def step(self) -> float:
        """Enqueue what is due; returns how long nothing can be due, in seconds."""
        found = await self._link.call(cron.due)
        enqueued = behind = False
        for due in found.schedules:
            plan = await self._enqueue(due)
            if plan is not None:
                enqueued = enqueued or bool(plan.occurrences)
                behind = behind or plan.next_at <= due.now
        if enqueued:
            await self._link.call(upkeep.notify)
        if behind:
            return 0.0
        return LOOK_EVERY_S if found.next_due_s is None else min(LOOK_EVERY_S, found.next_due_s)

    async def run_orphans(self) -> None:
        """Look for schedules that no worker declares any more, until cancelled."""
        while True:
            await asyncio.sleep(
                LOOK_FOR_ORPHANS_EVERY_S
            )  # first of all: after an outage workers need a moment to declare
            if self._leader.leading:
                await self.look_for_orphans()

    async def look_for_orphans(self) -> None:
        """Warn of each, once a day, and once more when its time is over."""
        found = await self._link.call(partial(schedules.orphans, orphan_s=ORPHAN_S))
        now = monotonic()
        told = {(row.name, row.ended): self._told.get((row.name, row.ended), -TELL_EVERY_S) for row in found}
        for row in found:
            if now - told[row.name, row.ended] < TELL_EVERY_S:
                continue
            told[row.name, row.ended] = now
            text = (
                "schedule %s has ended: no worker has declared it since %s; one that does starts it again,"
                " `fastq schedules remove` deletes it"
                if row.ended
                else "schedule %s is declared by no worker since %s, and its jobs are enqueued all the same:"
                " if its code is gone, `fastq schedules remove` ends it"
            )
            log.warning(text, row.name, row.seen_at.isoformat(timespec="seconds"))
        self._told = told

    async def _enqueue(self, due: cron.DueSchedule) -> Plan | None:
        """Enqueue what is due of one schedule; None if another leader did, or if this one cannot, with a warning."""
        try:
            plan = due.schedule.plan(due.due_at, due.now)
            return plan if await self._link.call(partial(cron.enqueue, found=due, plan=plan)) else None
        except (UsageError, psycopg.DataError, psycopg.IntegrityError) as exc:
            if self._unreadable.get(due.name) != due.spec:
                log.warning("schedule %s stands still: %s", due.name, str(exc).strip())
                self._unreadable[due.name] = due.spec
            return None
