"""The tasks that this worker's app has: what claims may take, and what nobody here will ever take."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from time import monotonic

from fastq.protocol.claim import Tasks

log = logging.getLogger("fastq.worker")

HOT = 8
"""So many names are compared before the others are looked up."""

LOOK_EVERY_S = 10.0
MOST_REPORTED = 200


class Known:
    """All names, those met last in front. `told` are tasks of others that were seen in line, and reported once."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = sorted(names)
        self._hot = self._names[:HOT]
        self._reported: set[str] = set()
        self._look_at = 0.0

    @property
    def tasks(self) -> Tasks:
        """What claims and looks want."""
        return Tasks(self._hot, self._names if len(self._names) > HOT else ())

    def met(self, task: str) -> None:
        """Let a task be among those that are compared first."""
        if task not in self._hot and task in self._names:
            self._hot = [task, *self._hot[: HOT - 1]]

    def look_is_due(self) -> bool:
        """Tell whether it is time to look for jobs of other tasks."""
        if (due := monotonic() >= self._look_at) and len(self._reported) < MOST_REPORTED:
            self._look_at = monotonic() + LOOK_EVERY_S
        return due and len(self._reported) < MOST_REPORTED

    def tell(self, tasks: Iterable[str]) -> None:
        """Say once of each task of others that its jobs stay where they are."""
        for task in set(tasks) - self._reported:
            if len(self._reported) < MOST_REPORTED:
                self._reported.add(task)
                log.warning("this app has no task %r; its jobs are left to workers that know it", task)
