"""Notices that shards were added, and tells the workers of this host."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

from fastq.host.board import SHARDS_MOST, Board, Word
from fastq.postgres.link import Link
from fastq.protocol.asking import carry_out
from fastq.protocol.shards import Shards, read_layout

_EVERY_S, _HEARD_S = 5.0, 60.0
"""How often it looks; while this host hears notifications, which tell of new shards, the latter."""


class Growth:
    """Looks when a notification tells of more shards, and now and then."""

    def __init__(self, board: Board, link: Link, shards: Shards) -> None:
        self._board = board
        self._link = link
        self._shards = shards
        self.rung = asyncio.Event()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self.rung.clear()
            await self.step()
            with suppress(TimeoutError):
                async with asyncio.timeout(_HEARD_S if self._board.house[Word.LISTENS] else _EVERY_S):
                    await self.rung.wait()

    async def step(self) -> None:
        """Look once; where there are more shards than before, workers join them and all duties go round them."""
        layout = await self._link.call(partial(carry_out, asked=read_layout()))
        if self._shards.count < layout.shards <= SHARDS_MOST:
            self._shards.count = self._board.house[Word.SHARDS] = layout.shards
            self._board.ring_workers()
