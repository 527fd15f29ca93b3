"""How far a running job says that it has come: shown while it runs, gone with it."""

from __future__ import annotations

import pytest
from packed_jobs import pack
from scene import Conn, ask, hire, put, take

from fastq.protocol import ack, completion, jobs
from fastq.protocol.asking import carry_out
from fastq.protocol.completion import Place
from fastq.protocol.jobs import JobFilter

pytestmark = pytest.mark.protocol


async def test_it_is_seen_everywhere_while_the_job_runs(conn: Conn) -> None:
    """By its id, in lists, in the view; of that one job of a packet alone; a later word replaces it."""
    first = await pack(conn, 3)
    who = await hire(conn)
    (lease,) = (await take(conn, who)).leases
    place = Place(0, lease, 1)
    assert await carry_out(conn, completion.tell_progress(place, 0.25, "half of a half"))
    assert await carry_out(conn, completion.tell_progress(place, 0.5, "half"))
    found = await carry_out(conn, jobs.find(first + 1))
    assert found is not None
    assert (found.progress, found.note) == (0.5, "half")
    listed = await carry_out(conn, jobs.survey(JobFilter(), 10))
    assert [(job.id, job.progress) for job in listed] == [(first, None), (first + 1, 0.5), (first + 2, None)]
    assert await ask(conn, "select id from fastq.job where progress is not null") == [(first + 1,)]
    assert await ack.ack(conn, shard=0, worker=who, leases=[lease]) == {lease}
    assert await ask(conn, "select lease from fastq.progress") == []


async def test_nothing_is_shown_of_a_job_that_was_taken_away(conn: Conn) -> None:
    """Its lease is gone."""
    await put(conn, "{}")
    who = await hire(conn)
    (lease,) = (await take(conn, who)).leases
    await ack.ack(conn, shard=0, worker=who, leases=[lease])
    assert not await carry_out(conn, completion.tell_progress(Place(0, lease, 0), 0.5, ""))
    assert await ask(conn, "select lease from fastq.progress") == []


async def test_it_leaves_checkpoint_and_completion_alone(conn: Conn) -> None:
    """They are columns of the same row."""
    await put(conn, "{}")
    who = await hire(conn)
    (lease,) = (await take(conn, who)).leases
    place = Place(0, lease, 0)
    await carry_out(conn, completion.save_checkpoint(place, '{"at":7}'))
    await carry_out(conn, completion.tell_progress(place, 1.0, ""))
    await carry_out(conn, completion.save_checkpoint(place, '{"at":8}'))
    row = await ask(conn, "select checkpoint->>'at', share, completed from fastq.progress")
    assert row == [("8", 1.0, False)]
