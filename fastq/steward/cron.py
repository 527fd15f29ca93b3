"""Enqueues the due occurrences of all schedules, on the host that leads."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from fastq.cron import Plan
from fastq.errors import UsageError
from fastq.link import Link
from fastq.protocol import cron, upkeep
from fastq.steward.leader import Leader

log = logging.getLogger("fastq.steward")

LOOK_EVERY_S = 1.0


class Cron:
    """The clockwork. Safe to run on two hosts at once: the statement lets one of them through."""

    def __init__(self, link: Link, leader: Leader) -> None:
        self._link = link
        self._leader = leader
        self._unreadable: dict[str, str] = {}

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
            plan = self._plan(due)
            if plan is not None and await self._link.call(partial(cron.enqueue, found=due, plan=plan)):
                enqueued = enqueued or bool(plan.occurrences)
                behind = behind or plan.next_at <= due.now
        if enqueued:
            await self._link.call(upkeep.notify)
        if behind:
            return 0.0
        return LOOK_EVERY_S if found.next_due_s is None else min(LOOK_EVERY_S, found.next_due_s)

    def _plan(self, due: cron.DueSchedule) -> Plan | None:
        """Decide what to enqueue; None, and one warning, for a schedule that this host cannot read."""
        try:
            return due.schedule.plan(due.due_at, due.now)
        except UsageError as exc:
            if self._unreadable.get(due.name) != due.spec:
                log.warning("schedule %s stands still: %s", due.name, exc)
                self._unreadable[due.name] = due.spec
            return None
