"""The steward's post: the one child that is not a worker, and when it is filled again. Pure, no I/O."""

from __future__ import annotations

import math

from fastq.supervisor.policy import STEWARD_POLICY, RestartPolicy, backoff_s


class Post:
    """Held by one steward at a time. `wanted` is False once it may stay vacant."""

    def __init__(self, policy: RestartPolicy = STEWARD_POLICY) -> None:
        self.policy = policy
        self.pid: int | None = None
        self.wanted = True
        self.failures = 0
        self._since = 0.0
        self._fill_at = 0.0

    def due(self, now: float) -> bool:
        """Tell whether a steward has to be started now."""
        return self.next_fill() <= now

    def next_fill(self) -> float:
        """Return when a steward has to be started."""
        return self._fill_at if self.wanted and self.pid is None else math.inf

    def take(self, pid: int, now: float) -> None:
        """Enter a new steward."""
        self.pid, self._since = pid, now

    def vacate(self, now: float) -> float:
        """Take a dead steward out; return the wait for the next."""
        if now - self._since >= self.policy.healthy_after_s:
            self.failures = 0
        self.pid = None
        return self.retry(now)

    def retry(self, now: float) -> float:
        """Note one more failure, of a steward or of the attempt to fork one; return the wait for the next."""
        self.failures += 1
        delay_s = backoff_s(self.policy, self.failures)
        self._fill_at = now + delay_s
        return delay_s
