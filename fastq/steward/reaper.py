"""Gives back what dead workers held: at once for those of this host, after their lease for those of dead hosts."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable, QueryCanceled

from fastq.ends.ending import Died
from fastq.ends.outcome import conclude, death_of
from fastq.ends.settlement import LeasedJob, Settlement
from fastq.host.board import Board, Cell, Word
from fastq.host.series import Count, SeriesTable
from fastq.observability.outcry import cry
from fastq.observability.totals import Totals
from fastq.postgres.away import ShardAway, absent
from fastq.postgres.link import Link
from fastq.protocol import reap, upkeep
from fastq.protocol.shards import Shards
from fastq.states import CellState, ExitCode, Goes
from fastq.steward.leader import Leader

log = logging.getLogger("fastq.steward")
T = TypeVar("T")
Running = set[tuple[int, int]]
End = tuple[LeasedJob, Settlement, bool]
"""A dead worker's job, where it goes, and whether it ran."""

_TELL_EVERY_S = 60.0
_OTHERS = 4
"""Hosts that do not lead take every so-many-th look for workers of dead hosts."""


class NotNowError(Exception):
    """A worker cannot be reaped now, most often because somebody holds a lease of its locked: it is tried again."""


class Reaper:
    """Reaps cells that the supervisor marked dead, and workers of any host whose time has run out.

    The link's setup has to have a `lock_timeout`: it bounds how long one locked lease holds up all the others.
    """

    def __init__(
        self,
        board: Board,
        link: Link,
        *,
        lease_s: float,
        shards: Shards,
        totals: Totals | None = None,
        steady: Callable[[], bool] = lambda: True,
    ) -> None:
        self._board = board
        self._link = link
        self._lease_s = lease_s
        self._shards = shards
        self._totals = totals or Totals()
        self._series = SeriesTable(board.house.series)
        self._steady = steady
        self._tell_at = self._stuck_at = 0.0
        self.rung = asyncio.Event()
        self.orphaned = False

    async def run(self) -> None:
        """Reap whenever the supervisor rings, until cancelled."""
        while True:
            await self.step()
            self.rung.clear()
            try:
                await asyncio.wait_for(self.rung.wait(), 1.0)
            except TimeoutError:
                continue

    async def step(self) -> None:
        """Reap all dead cells of this host."""
        if self.orphaned:
            self._find_dead()
        self._totals.observe(self._board.cells)
        for cell in self._board.cells:
            if cell.state is CellState.DEAD:
                await self._reap_cell(cell)

    async def _reap_cell(self, cell: Cell) -> None:
        """Reap one dead cell; it stays dead when its worker cannot be reaped now."""
        worker_id = cell[Word.WORKER_ID]
        if worker_id:
            (running, cause), back, stuck = _charge(cell), 0, False
            for shard in self._shards:
                try:
                    back += await self._reap(shard, worker_id, running, cause, died=True) or 0
                except NotNowError:
                    stuck = True
            if stuck:
                return
            if cell.state is not CellState.DEAD or cell[Word.WORKER_ID] != worker_id:
                return  # another step was at it too, and was first
            log.info(
                "worker %s ended by %s: %s job(s) given back, %s of them ran", worker_id, cause, back, len(running)
            )
        self._totals.observe([cell])
        cell.clear()
        cell.state = CellState.FREE

    async def step_expired(self) -> None:
        """Reap every worker whose time has run out, of whatever host; dead ones of this host are left to `step`.

        One of this host that lives did not crash: the database was away, or the process was stopped. Nothing that it
        runs is charged. Nobody is reaped while our own heartbeats do not come through, nor soon after: then the
        database was away for all, and the others need a moment to say that they are alive. That is asked after each
        wait for the database, and not before it: the outage may lie in between.
        """
        for shard, worker_id in await self._link.call(partial(reap.expired_workers, shards=self._shards)):
            if not self._steady():
                return
            if absent.steady_s(shard) < self._lease_s / 2:  # its node is just back: heartbeats come first
                continue
            cell = self._cell_of(worker_id)
            if cell is not None and cell.state is CellState.DEAD:
                continue
            try:
                back = await self._reap(shard, worker_id, None if cell is None else set(), "the end of its lease")
            except NotNowError:
                continue
            if back is not None:
                log.warning("worker %s stopped renewing its lease: %s job(s) given back", worker_id, back)

    async def _reap(
        self, shard: int, worker_id: int, running: Running | None, cause: str, *, died: bool = False
    ) -> int | None:
        """Reap one worker; `running` None means that nobody knows what ran, so everything is charged.

        `died`: its process is known to have died, so that what ran has had an attempt.

        Returns how many jobs went back; None when the worker was gone already.

        Raises:
            NotNowError: a lease of its is locked; nothing was changed.

        """

        ends: list[End] = []

        def verdict(job: LeasedJob) -> Settlement:
            ran = running is None or (job.lease, job.ord) in running
            settlement = conclude(job, Died(ran=ran, cause=cause, counts=died))
            ends.append((job, settlement, ran))
            return settlement

        async def attempt(conn: AsyncConnection[Any]) -> int | None:
            ends.clear()
            try:
                return await reap.reap(
                    conn,
                    shard=shard,
                    worker=worker_id,
                    verdict=verdict,
                    expired=not died,
                    may=(lambda: True) if died else self._steady,
                    note=self._note,
                )
            except (LockNotAvailable, QueryCanceled):  # the link would try just this one again, and nothing else
                raise NotNowError("an open transaction holds one of its leases") from None

        try:
            back = await self._link.call(attempt)
        except NotNowError as exc:
            self._tell(worker_id, exc)
            raise
        except ShardAway as exc:
            absent.note(shard, exc)
            raise NotNowError("its shard is away") from None
        except Exception as exc:
            self._tell(worker_id, exc)
            raise NotNowError from exc
        self._count(ends)
        if back is not None:  # also without jobs: a claim of its may just have been undone
            await self._link.call(upkeep.notify)
            self._board.ring_workers()
        return back

    def _count(self, ends: list[End]) -> None:
        """Count what became of a dead worker's jobs, and tell of those that it was running."""
        for job, settlement, ran in ends:
            finished = settlement.goes is Goes.FINISHED
            count = Count.FAILED if finished else Count.RETRIED if ran else Count.RETURNED
            self._board.house[Word[count.name]] += 1
            self._series.of(job.queue, job.task).add(count)
            if ran:
                cry(log, job, settlement, queue=job.queue)

    def _tell(self, worker_id: int, why: Exception) -> None:
        """Say once in a while what holds up a reap; the others go on, and it is tried again."""
        if monotonic() < self._tell_at:
            return
        self._tell_at = monotonic() + _TELL_EVERY_S
        if isinstance(why, NotNowError):
            log.warning("the jobs of worker %s have to wait: %s", worker_id, why)
        else:
            log.error("the jobs of worker %s cannot be given back", worker_id, exc_info=why)

    def _note(self, tried: Settlement, why: BaseException, written: Settlement | None) -> None:
        """Say what became of a job that cannot go where it should."""
        if written is not None:
            text = "job %s is kept as failed, since it cannot be given back: %s"
            log.error(text, tried.id, why, extra={"per": "refused"})
        elif monotonic() >= self._stuck_at:
            self._stuck_at = monotonic() + _TELL_EVERY_S
            log.error("job %s of lease %s can neither be given back nor be kept: %s", tried.id, tried.lease, why)

    def _cell_of(self, worker_id: int) -> Cell | None:
        """Return the cell of a worker of this host that lives or was not reaped yet; None for one of another host."""
        cells = (cell for cell in self._board.cells if cell.state is not CellState.FREE)
        return next((cell for cell in cells if cell[Word.WORKER_ID] == worker_id), None)

    def _find_dead(self) -> None:
        """Without a supervisor nobody reports deaths: look for processes that are gone."""
        for cell in self._board.cells:
            if cell.state.working and not _exists(cell[Word.PID]):
                cell.state = CellState.DEAD


class Expired:
    """Looks for workers of dead hosts: four times per lease on the host that leads, now and then on the others."""

    def __init__(self, reaper: Reaper, leader: Leader, *, lease_s: float) -> None:
        self._reaper = reaper
        self._leader = leader
        self._every_s = min(5.0, lease_s / 4)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        for look in count():
            await asyncio.sleep(self._every_s)
            if self._leader.leading or look % _OTHERS == 0:
                await self._reaper.step_expired()


def _charge(cell: Cell) -> tuple[Running, str]:
    """Return the jobs that a worker's death is charged to, and how it died."""
    if cell[Word.OVERDUE]:
        return set(cell.jobs_of(cell[Word.OVERDUE])), "SIGKILL, for this job's hard timeout,"
    cause = death_of(cell[Word.EXIT_STATUS])
    if cause == f"exit code {ExitCode.OVERRAN}":  # a drain past its deadline charges nobody
        return set(), cause
    return set(cell.running_jobs()), cause


def _exists(pid: int) -> bool:
    """Tell whether a process runs; one that is dead and not yet reaped, as below a careless PID 1, does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
