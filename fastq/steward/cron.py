"""Enqueues the due occurrences of all schedules, on the host that leads."""

from __future__ import annotations

import logging
import random
from functools import partial
from math import inf

import psycopg

from fastq.cron import Plan
from fastq.errors import UsageError
from fastq.postgres.link import Link
from fastq.protocol import cron, upkeep
from fastq.protocol.shards import Shards
from fastq.steward.duty import LeadersDuty
from fastq.steward.leader import Leader

log = logging.getLogger("fastq.steward")


class Cron(LeadersDuty):
    """The clockwork. Safe to run on two hosts at once: the statement lets one of them through."""

    quiet_s = 5.0

    def __init__(self, link: Link, leader: Leader, *, shards: Shards | None = None) -> None:
        super().__init__(link, leader, shards=shards)
        self._unreadable: dict[str, str] = {}

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
        self.due_s = inf if found.next_due_s is None else found.next_due_s
        return min(self.every_s, self.due_s)

    async def _enqueue(self, due: cron.DueSchedule) -> Plan | None:
        """Enqueue what is due of one schedule; None if another leader did, or if this one cannot, with a warning."""
        try:
            plan = due.schedule.plan(due.due_at, due.now)
            shard = random.randrange(len(self._shards))  # noqa: S311 - any will do
            return plan if await self._link.call(partial(cron.enqueue, found=due, plan=plan, shard=shard)) else None
        except (UsageError, psycopg.DataError, psycopg.IntegrityError) as exc:
            if self._unreadable.get(due.name) != due.spec:
                log.warning("schedule %s stands still: %s", due.name, str(exc).strip())
                self._unreadable[due.name] = due.spec
            return None
