"""Shards of a cluster whose node cannot be reached: left alone for a while, then tried again; the others go on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import psycopg

from fastq import sql

log = logging.getLogger("fastq")

FIRST_S, MOST_S = 0.5, 5.0
"""So long a shard is left alone at first, and at most."""

_BROKEN = ("08", "57P")
WRONG_NODE = "FQ002"
"""The SQLSTATE of a call that was not carried to the node of its shard, or came too late: it has moved."""


class ShardAway(Exception):
    """The node of a shard cannot be reached. Nobody knows whether what was asked of it has happened."""


def of_a_node(exc: BaseException, conn: psycopg.AsyncConnection[Any] | psycopg.Connection[Any] | None) -> bool:
    """Tell whether an error is that of a node behind the one that we are connected to."""
    if not (sql.on_cluster() and isinstance(exc, psycopg.Error)) or conn is None or conn.closed:
        return False
    return (exc.sqlstate or "").startswith(_BROKEN) or "remote node" in str(exc)


def of_wrong_node(exc: BaseException) -> bool:
    """Tell whether a call was not carried to its shard's node: another connection does that."""
    return isinstance(exc, psycopg.Error) and exc.sqlstate == WRONG_NODE


class Absent:
    """Which shards are away, as this process has seen it."""

    def __init__(self) -> None:
        self._until: dict[int, float] = {}
        self._pause_s: dict[int, float] = {}
        self._back_at: dict[int, float] = {}

    def note(self, shard: int, why: object = "") -> None:
        """Leave a shard alone for a while."""
        if shard not in self._pause_s:
            log.warning("shard %s cannot be reached, the others go on: %s", shard, str(why).partition("\n")[0])
        self._pause_s[shard] = min(MOST_S, 2 * self._pause_s.get(shard, FIRST_S / 2))
        self._until[shard] = monotonic() + self._pause_s[shard]

    def seen(self, shard: int) -> None:
        """Note that a shard has answered."""
        if self._pause_s.pop(shard, None) is not None:
            self._until.pop(shard, None)
            self._back_at[shard] = monotonic()
            log.warning("shard %s can be reached again", shard)

    @property
    def shards(self) -> list[int]:
        """Those that did not answer when they were asked last."""
        return sorted(self._pause_s)

    def present(self, shards: Iterable[int]) -> list[int]:
        """Return those that can be asked now."""
        if not self._until:
            return list(shards)
        now = monotonic()
        return [shard for shard in shards if self._until.get(shard, 0.0) <= now]

    def steady_s(self, shard: int) -> float:
        """Return for how many seconds a shard has been there again."""
        if shard in self._pause_s:
            return 0.0
        return monotonic() - self._back_at.get(shard, -1e9)

    @contextmanager
    def tolerated(self, shard: int) -> Iterator[None]:
        """Let what concerns one shard fail alone."""
        try:
            yield
        except ShardAway as exc:
            self.note(shard, exc)
        else:
            if self._pause_s:
                self.seen(shard)


absent = Absent()
"""This process's."""
