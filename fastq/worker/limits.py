"""What a worker knows of the limits and weights of queues, and which of its lanes have to wait for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from time import monotonic
from typing import Any

from psycopg import AsyncConnection

from fastq.postgres.link import Link
from fastq.protocol import limits
from fastq.protocol.claim import Claimed, Lane
from fastq.protocol.limits import Claim, QueueSettings
from fastq.protocol.shards import Shards

REFRESH_S = 1.0
"""So long a change may take to reach a worker."""


class QueueLimits:
    """The settings of queues, read once a second; `weights` are theirs over those that the worker was started with."""

    def __init__(self, weights: Mapping[str, int], shards: Shards | None = None) -> None:
        self._shards = Shards() if shards is None else shards
        self._own_weights = weights
        self._known: dict[str, QueueSettings] = {}
        self._full: dict[tuple[str, str | None], tuple[float, bool]] = {}
        self._refresh_at = 0.0
        self.weights: dict[str, int] = dict(weights)

    async def refresh_if_due(self, link: Link) -> None:
        """Read the settings again, if that is long ago."""
        if monotonic() < self._refresh_at:
            return
        found = await link.call(limits.read_settings)
        self._refresh_at = monotonic() + REFRESH_S
        self._known = {settings.name: settings for settings in found if settings.limited}
        self.weights.clear()
        self.weights.update(self._own_weights)
        self.weights.update({settings.name: settings.weight for settings in found if settings.weight is not None})

    def one_by_one(self, queue: str) -> bool:
        """Tell whether the groups of a queue have to be claimed from one at a time."""
        return queue in self._known and self._known[queue].max_running_per_group is not None

    def within(self, lane: Lane, claim: Claim) -> Claim:
        """Return the claim itself, or for a queue with limits the claim that keeps to them."""
        return partial(self._claim, claim, lane) if lane.queue in self._known else claim

    async def _claim(
        self, claim: Claim, place: Lane, conn: AsyncConnection[Any], *, limit: int, acks: list[int], **rest: Any
    ) -> Claimed:
        rest["most"] = 0  # the limits are exact
        done = await limits.claim_within(
            conn, partial(claim, **rest), lane=place, limit=limit, acks=acks, shards=self._shards
        )
        if done.again_s is not None:
            group = None if done.queue_full else place.group_key
            self._full[place.queue, group] = monotonic() + done.again_s, done.ends
        return done.claimed

    # -- lanes that have to wait

    def open(self, found: Iterable[tuple[Lane, int]]) -> Iterable[tuple[Lane, int]]:
        """Return those lanes that have not to wait."""
        return [(lane, first) for lane, first in found if not self.waits(lane)] if self._full else found

    def waits(self, lane: Lane) -> bool:
        """Tell whether there is no use in claiming from a lane yet."""
        if not self._full:
            return False
        now = monotonic()
        return any(self._full.get((lane.queue, group), (0.0,))[0] > now for group in (None, lane.group_key))

    def rest(self, queue: str, seconds: float) -> None:
        """Leave a queue alone for a while, so that more of its jobs come together."""
        self._full[queue, None] = monotonic() + seconds, False

    @property
    def pause_s(self) -> float | None:
        """In how many seconds the next lane need not wait any longer; None when none waits."""
        now = monotonic()
        self._full = {place: full for place, full in self._full.items() if full[0] > now}
        return min(until for until, _ in self._full.values()) - now if self._full else None

    def ended(self) -> None:
        """Note that jobs have ended here: what was full may not be so any more."""
        self._full = {place: full for place, full in self._full.items() if not full[1]}
