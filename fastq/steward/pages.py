"""The pages that a host serves of itself: /metrics for Prometheus, /health for probes."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from fastq import codec
from fastq.host.board import Board
from fastq.observability.exposition import CONTENT_TYPE, exposition, health
from fastq.observability.totals import Totals
from fastq.postgres.away import absent
from fastq.steward.duty import Duties
from fastq.steward.heartbeat import Heartbeat
from fastq.steward.http import Http, Page, Response
from fastq.steward.leader import Leader

_LOOK_EVERY_S = 0.25


class Pages:
    """What the pages show: the board, the totals of all workers it ever had, and how housekeeping goes."""

    def __init__(
        self, board: Board, totals: Totals, heartbeat: Heartbeat, leader: Leader, duties: Duties, *, lease_s: float
    ) -> None:
        self._board = board
        self._totals = totals
        self._heartbeat = heartbeat
        self._leader = leader
        self._duties = duties
        self._lease_s = lease_s

    async def run(self) -> None:
        """Look at the counters until cancelled: a worker that leaves takes with it what nobody saw."""
        while True:
            self._totals.observe(self._board.cells)
            await asyncio.sleep(_LOOK_EVERY_S)

    def metrics(self) -> Response:
        """Return the numbers of this host."""
        self._totals.observe([self._board.house])
        text = exposition(
            self._board.cells, self._totals, leading=self._leader.leading, beat_age_s=self._heartbeat.age_s
        )
        return Response(body=text.encode(), content_type=CONTENT_TYPE)

    def health(self) -> Response:
        """Return whether this host is well: 200, or 503 with the reasons.

        A duty that fails for what stands in a row would fail on every other host too: it is named, and changes nothing.
        """
        found = health(self._board.cells, beat_age_s=self._heartbeat.age_s, lease_s=self._lease_s)
        body = {
            "status": found.status,
            "workers": found.workers,
            "heartbeat_age_s": found.heartbeat_age_s,
            "reasons": found.reasons,
            "failing_duties": self._duties.failing,
            "shards_away": absent.shards,
        }
        return Response(
            body=codec.dumps(body) + b"\n",
            content_type="application/json",
            status=HTTPStatus.OK if found.ok else HTTPStatus.SERVICE_UNAVAILABLE,
        )

    def servers(self, *, metrics_addr: str | None, health_addr: str | None) -> list[Http]:
        """Return a server for each address: one for both pages where they share it."""
        routes: dict[str, dict[str, Page]] = {}
        if metrics_addr:
            routes.setdefault(metrics_addr, {})["/metrics"] = self.metrics
        if health_addr:
            routes.setdefault(health_addr, {})["/health"] = self.health
        return [Http(addr, pages) for addr, pages in routes.items()]
