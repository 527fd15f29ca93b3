"""What the tests of ordered groups share: joining, claiming, settling, and the check that all lines are whole."""

from __future__ import annotations

from typing import Any

from scene import LANE, Conn, ask, back, failed, hire, states, take

from fastq.ends.settlement import Settlement
from fastq.protocol import ack
from fastq.protocol import settle as settling
from fastq.protocol.claim import Claimed
from fastq.states import Goes

META = {"ordered": "skip"}
BLOCK = {"ordered": "block"}


async def join(conn: Conn, group: str = "g", **named: Any) -> int:
    """Enqueue one ordered job from SQL."""
    extra = "".join(f", {name} => %({name})s" for name in named)
    query = f"select fastq.enqueue('t', group_key => %(group)s, ordered => true{extra})"
    ((job,),) = await (await conn.execute(query.encode(), {"group": group, **named})).fetchall()
    return int(job)


async def claim(conn: Conn, who: int, group: str = "g") -> Claimed:
    """Claim what a group has ready."""
    return await take(conn, who, lane=LANE._replace(group_key=group))


def done(claimed: Claimed, ordinal: int = 0, **changes: Any) -> Settlement:
    """Return the settlement of an ordered job that succeeded."""
    return back(claimed.lease, ordinal, **{"goes": Goes.DONE, "meta": META, "attempt": 1, **changes})


async def settle(conn: Conn, who: int, *settlements: Settlement) -> set[tuple[int, int]]:
    """Settle jobs of a worker."""
    return await settling.settle(conn, shard=0, worker=who, settlements=list(settlements))


async def heads(conn: Conn) -> dict[str, int | None]:
    """Return the heads by group, after checking the rules on everything that can be seen."""
    await check(conn)
    return dict(await ask(conn, "select group_key, job from fastq.head"))


async def check(conn: Conn) -> None:
    """Of a line at most one job is on its way, the one that its head names; each job that waits in it has a head."""
    strays = await ask(
        conn,
        "select j.id, j.state from fastq.job j where fastq.ordered_of(j.meta) is not null"
        " and j.state in ('ready', 'running', 'scheduled', 'retrying')"
        " and not exists (select from fastq.head h where h.job = j.id and h.group_key = j.group_key)",
    )
    assert strays == []
    headless = (
        "select l.pos from fastq.line l where not exists (select from fastq.head h"
        " where (h.shard, h.queue, h.group_key) = (l.shard, l.queue, l.group_key))"
    )
    assert await ask(conn, headless) == []


# -- a line that blocks


async def blocked(conn: Conn) -> tuple[int, int, int]:
    """Give a worker, a job that failed for good, and the one that waits for it."""
    first, second = await join(conn, on_dead="block"), await join(conn, on_dead="block")
    who = await hire(conn)
    got = await claim(conn, who)
    await settle(conn, who, failed(got.lease, meta=BLOCK))
    await ack.ack(conn, shard=0, worker=who, leases=[got.lease])
    assert await states(conn) == {first: "failed", second: "waiting"}
    assert await heads(conn) == {"g": first}
    return who, first, second
