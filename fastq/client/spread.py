"""Which shard a producer's jobs go to. Pure, but for the clock."""

from __future__ import annotations

import random
from time import monotonic

from fastq.job import Options
from fastq.postgres.away import absent
from fastq.protocol.shards import ONE, Layout, tie_of

STAY_S = 1.0
"""So long a producer's jobs go to one shard before the next one has its turn: they stand and are found together."""

FRESH_S = 10.0
"""So long a producer relies on the number of shards that it was told."""


class Spread:
    """One producer's turns. `layout` is what it was told last, long ago if it is not `fresh`."""

    def __init__(self) -> None:
        self.layout = ONE
        self._fresh_until = 0.0
        self._turn = random.randrange(1 << 16)  # noqa: S311 - any will do
        self._stay_until = 0.0

    @property
    def fresh(self) -> bool:
        """Whether the number of shards is known."""
        return monotonic() < self._fresh_until

    def learn(self, layout: Layout) -> None:
        """Note how many shards there are."""
        self.layout, self._fresh_until = layout, monotonic() + FRESH_S

    def forget(self) -> None:
        """Note that there are others than was thought."""
        self._fresh_until = 0.0

    def here(self) -> int:
        """Return the shard for single jobs at this moment: of a cluster one that is not known to be away."""
        if self.layout.shards == 1:
            return 0
        if (now := monotonic()) >= self._stay_until:
            self._turn, self._stay_until = self._turn + 1, now + STAY_S
        there = absent.present(range(self.layout.shards)) or range(self.layout.shards)
        return there[self._turn % len(there)]

    def another(self) -> int:
        """Return the shard for the next stream, and for single jobs from now on."""
        self._stay_until = 0.0
        return self.here()

    def of(self, options: Options) -> int:
        """Return the shard of a job that may be tied to others."""
        tie = tie_of(options)
        return self.here() if tie is None else self.layout.of(tie)
