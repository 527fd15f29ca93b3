"""Which shards a database has, and which one a job goes to.

What is tied to nothing may stand in any shard. Jobs that share a unique key or an ordered line stand in the one that
the hash of their tie names: among the first `keyed`, which follows the number of shards as soon as no job is tied
(`fastq.spread_ties`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from fastq import sql
from fastq.job import Options
from fastq.protocol.asking import Request

CHANGED = "FQ001"
"""The SQLSTATE that refuses tied jobs whose producer reckoned with another number of shards."""


@dataclass(frozen=True, slots=True)
class Layout:
    """So many shards there are, over so many of them tied jobs are spread; and whether they are on many servers."""

    shards: int = 1
    keyed: int = 1
    cluster: bool = False

    def of(self, tie: str) -> int:
        """Return the shard of a tie, as `fastq.shard_of` does."""
        return int(hashlib.sha256(tie.encode()).hexdigest()[:7], 16) % self.keyed if self.keyed > 1 else 0


ONE = Layout()


def tie_of(options: Options) -> str | None:
    """Return what ties a job to others: its line if it is ordered, else its unique key; None if nothing does."""
    return f"{options.queue}\n{options.group_key}" if options.ordered else options.unique_key


def read_layout() -> Request[Layout]:
    """Ask how many shards there are."""
    return Request("read_layout", {}, _layout)


def _layout(rows: list[tuple[Any, ...]]) -> Layout:
    shards, keyed, cluster = rows[0]
    if cluster:
        sql.use_cluster()
    return Layout(shards or 1, keyed or 1, bool(cluster))


class Shards(Collection[int]):
    """The shards there are, for those who go round them: their number may grow at any time."""

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self.missing: set[int] = set()
        """Those that this worker could not join yet."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count) if not self.missing else [n for n in range(self.count) if n not in self.missing])

    def __contains__(self, shard: object) -> bool:
        return shard in range(self.count) and shard not in self.missing

    def __len__(self) -> int:
        return self.count - len(self.missing)
