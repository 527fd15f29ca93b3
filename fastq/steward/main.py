"""The entry of the steward process: starts its loops, and lets a crash of one end the process loudly."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import socket

import uvloop

from fastq import embedded, sql
from fastq.config import StewardConfig
from fastq.errors import FastqError
from fastq.host.board import Board, Word
from fastq.host.child import Child
from fastq.observability.throttle import throttled
from fastq.observability.totals import Totals
from fastq.postgres.link import Link
from fastq.protocol import upkeep
from fastq.protocol.shards import Shards
from fastq.states import CellState
from fastq.steward.bell import Bell
from fastq.steward.cancel import Canceller
from fastq.steward.cron import Cron
from fastq.steward.duty import Duties, Endless
from fastq.steward.growth import Growth
from fastq.steward.heartbeat import Heartbeat
from fastq.steward.historian import Depths, Historian
from fastq.steward.leader import Leader
from fastq.steward.lines import OrderedLines
from fastq.steward.listener import CANCEL, GREW, LEAD, Listener, shards_in
from fastq.steward.orders import Orders
from fastq.steward.orphans import Orphans
from fastq.steward.overdue import Overdue
from fastq.steward.pages import Pages
from fastq.steward.promoter import Promoter
from fastq.steward.pruner import Pruner, Reservations
from fastq.steward.reaper import Expired, Reaper
from fastq.steward.relay import Relay
from fastq.steward.rotator import Rotator
from fastq.steward.stir import Stir

log = logging.getLogger("fastq.steward")

SETUP_RING = "set lock_timeout = '1s'; set idle_in_transaction_session_timeout = '10s'; set jit = off"
"""Waits for no lock longer than that: whoever holds one keeps back what it holds, not all the rest. A steward that is
frozen in the middle of a transaction keeps its locks for ten seconds, and not until it goes on."""

SETUP = f"{SETUP_RING}; {sql.planner(cluster=False)}"
"""The ring does scan, to see whether whole segments are empty: past a million dead rows that vacuum may not remove a
scan takes 25 ms, an index 200 ms, and nobody else gets in meanwhile.
"""

_RESIGN_S = 1.0
_LAST_RITES_S = 3.0


def run(child: Child[StewardConfig]) -> int:
    """Be the steward until told to stop; returns the exit code."""
    faulthandler.enable()
    # Never closed: that would wait for psycopg, which asks a server that does not answer to cancel what it runs.
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    try:
        return runner.run(Steward(child).run())
    except FastqError as exc:
        log.error("%s", exc)  # noqa: TRY400 - its message is for people; a traceback is not
        return exc.exit_code
    except Exception:
        log.exception("the steward cannot go on")
        return 1


async def _revive() -> None:
    """Start the embedded server again after its keeper was killed."""
    await asyncio.to_thread(embedded.ensure)


class Steward:
    """One host's housekeeper. `run` goes through its life once."""

    def __init__(self, child: Child[StewardConfig]) -> None:
        cfg = child.config
        self._child = child
        self._board: Board = child.board
        self._timeout_s = cfg.shutdown_timeout_s
        self._parent = os.getppid()
        self._stop = asyncio.Event()
        self._orphaned = asyncio.Event()
        if cfg.cluster:
            sql.use_cluster()
        planned = f"{SETUP_RING}; {sql.planner(cluster=True)}"
        setup, ring = (planned, planned) if cfg.cluster else (SETUP, SETUP_RING)
        beats = Link(cfg.dsn, "fastq heartbeat", setup, _revive if cfg.embedded else None)
        reaps = Link(cfg.dsn, "fastq reaper", setup)
        leads = Link(cfg.dsn, "fastq leader", setup)
        turns = Link(cfg.dsn, "fastq ring", ring)
        self._links = (beats, reaps, leads, turns)
        shards = Shards(max(cfg.shards, self._board.house[Word.SHARDS]))
        totals = Totals()
        self._heartbeat = Heartbeat(self._board, beats, lease_s=cfg.lease_s, shards=shards)
        self._reaper = Reaper(
            self._board, reaps, lease_s=cfg.lease_s, shards=shards, totals=totals, steady=self._heartbeat.steady
        )
        self._stir = stir = Stir(self._board)
        holder = f"{socket.gethostname()}:{self._parent}"
        self._leader = leader = Leader(beats, holder=holder, stir=stir, duties=(reaps, leads, turns))
        self._relay = Relay(beats, shards, wake=Bell(self._board).ring)
        self._canceller = Canceller(self._board, beats, leader, lease_s=cfg.lease_s, shards=shards)
        self._orders = Orders(self._board, beats, supervisor=self._parent, lease_s=cfg.lease_s)
        self._growth = Growth(self._board, beats, shards)
        self._historian = Historian(self._board, totals, beats)
        self._kept_up = Duties()
        pages = Pages(self._board, totals, self._heartbeat, leader, self._kept_up, lease_s=cfg.lease_s)
        self._servers = pages.servers(metrics_addr=cfg.metrics_addr, health_addr=cfg.health_addr)
        self._duties: list[Endless] = [
            self._heartbeat,
            self._reaper,
            Expired(self._reaper, leader, lease_s=cfg.lease_s),
            Overdue(self._board),
            self._canceller,
            self._orders,
            self._growth,
            self._relay,
            leader,
            Promoter(leads, leader, shards=shards),
            Cron(leads, leader, shards=shards),
            Orphans(leads, leader),
            OrderedLines(leads, leader, shards=shards),
            Rotator(turns, leader, shards=shards),
            Pruner(leads, leader, shards=shards),
            Reservations(leads, leader, shards=shards),
            Depths(leads, leader, shards=shards),
            self._historian,
            pages,
            *self._servers,
        ]
        if cfg.listen:
            breaks = lambda: sum(link.breaks for link in self._links)  # noqa: E731
            dsn = cfg.listen_dsn or cfg.dsn
            listener = Listener(dsn, self._heard, stir, lost=self._board.ring_workers, breaks=breaks)
            self._duties.append(listener)

    async def run(self) -> int:
        """Keep house until the supervisor says TERM, or is gone and the workers too."""
        async with throttled(log):
            return await self._keep_house()

    async def _keep_house(self) -> int:
        self._hear()
        tasks = [
            asyncio.create_task(self._kept_up.keep_up(duty), name=f"fastq-{type(duty).__name__.lower()}")
            for duty in self._duties
        ]
        ending = asyncio.create_task(self._ended(), name="fastq-ending")
        try:
            done, _ = await asyncio.wait({*tasks, ending}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {ending}:
                task.result()
            return 0
        finally:
            for task in (*tasks, ending):
                task.cancel()
            for server in self._servers:
                await server.close()
            await asyncio.wait({*tasks, ending}, timeout=_RESIGN_S)
            last = (self._leader.resign(), self._historian.step())
            await asyncio.wait({asyncio.create_task(each) for each in last}, timeout=_RESIGN_S)
            for link in self._links:
                await link.close()

    def _heard(self, payload: str, place: int) -> None:
        """Tell those whom a notification concerns; `place` is this host's, of all that hear it."""
        if payload == CANCEL:
            self._canceller.rung.set()
            self._orders.rung.set()
        elif payload == LEAD:
            self._leader.rung.set()
        elif payload == GREW:
            self._growth.rung.set()
        else:
            self._board.stir(shards_in(payload))
            self._stir.heard()
            self._relay.heard(place, all_hands=payload.endswith(upkeep.ALL_HANDS))

    def _hear(self) -> None:
        """Hear the doorbell, the lifeline and the signals."""
        loop, bell = asyncio.get_running_loop(), self._board.steward_doorbell

        def rung() -> None:
            bell.hush()
            self._reaper.rung.set()
            self._relay.vain(sum(cell[Word.VAIN] for cell in self._board.cells))

        def orphaned() -> None:
            loop.remove_reader(self._child.lifeline_fd)
            self._reaper.orphaned = True
            self._orphaned.set()

        loop.add_reader(bell.fd, rung)
        loop.add_reader(self._child.lifeline_fd, orphaned)
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGQUIT, os._exit, 1)
        loop.add_signal_handler(signal.SIGUSR1, faulthandler.dump_traceback)

    async def _ended(self) -> None:
        """Return when the steward should leave.

        TERM ends it at once, unless the supervisor died: its death sends TERM too, and then the workers drain and need
        their leases kept until they are gone.
        """
        stop = asyncio.create_task(self._stop.wait(), name="fastq-stop")
        orphaned = asyncio.create_task(self._orphaned.wait(), name="fastq-orphaned")
        try:
            await asyncio.wait({stop, orphaned}, return_when=asyncio.FIRST_COMPLETED)
            if os.getppid() == self._parent:
                await asyncio.wait_for(self._reaper.step(), _LAST_RITES_S)
                return
            deadline = asyncio.get_running_loop().time() + self._timeout_s + 10.0
            while self._alive() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - memory cannot signal
                await asyncio.sleep(0.1)
        finally:
            stop.cancel()
            orphaned.cancel()

    def _alive(self) -> bool:
        return any(cell.state is not CellState.FREE for cell in self._board.cells)
