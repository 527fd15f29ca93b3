"""The statements, one to a file, and how they are read.

A file is headed by its purpose, the locks it takes, the index it uses and its caller. `{segment}` in a file stands
for the number of a segment: `statement(name, segment)` gives the text for one; `{table}` for one of its tables;
`{wanted}` for the condition on the tasks of jobs, `{ended}` for the end of packets.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import LiteralString

SEGMENTS = 4

BY_INDEX = (
    "set enable_seqscan = off; set enable_bitmapscan = off; "
    "set random_page_cost = 0.01; set cpu_operator_cost = 0.1; "
    "set plan_cache_mode = force_generic_plan; set jit = off"
)
"""Settings of a session that runs these statements.

Each has its index, and reads rows whose addresses it knows by their addresses. A plan that was cached while a table was
empty must do so too, when all ways cost the same: hence the costs. As there is one right plan, none is made twice:
planning a look at all lanes takes five times the look.
"""


WANTED = "(%(hot)s::text[] is null or r.task = any (%(hot)s::text[]) or r.task in (select unnest(%(known)s::text[])))"
"""Whether a ready job is of a task that the worker has: `{wanted}` in a file.

A few names are compared one by one, 0.05 µs a job; the others are looked up in a hash, which is not made before a job
is of none of the few: 0.8 µs a job with 300 names, where comparing takes 3.4. No `hot` at all: any task will do.
"""

ENDED = """ended as (
  delete from fastq.packet{of} k
  where k.shard = %(shard)s and not k.cut
    and k.pos = any (array(select a.packet from acked a where a.packet is not null))
    and k.pos between (select min(a.packet) from acked a) and (select max(a.packet) from acked a)
    and not exists (select from fastq.ready{of} r where r.shard = %(shard)s and r.packet = k.pos offset 0)
    and not exists (select from fastq.lease{of} l
                    where l.shard = %(shard)s and l.packet = k.pos and l.id <> all (%(acks)s::int8[]) offset 0)
)"""
"""Deletes the packets of leases that were `acked`: `{ended}` in a file; of one segment, if the statement is of one.
A packet whose jobs do not go together any more is left to the steward, and so is one that any other row names: a
stranger's row cannot have it deleted.
"""


@cache
def statement(name: str, segment: int | None = None, *, table: str = "") -> LiteralString:
    """Return the text of `name`.sql without its comments (psycopg caches only short texts)."""
    lines = files(__package__).joinpath(f"{name}.sql").read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("--")).strip()
    text = text.replace("{wanted}", WANTED).replace("{ended}", ENDED)
    text = text.replace("{of}", "" if segment is None else f"_{segment}")
    if segment is not None:
        text = text.replace("{segment}", str(segment))
    return text.replace("{table}", table) if table else text


@cache
def over_segments(name: str) -> LiteralString:
    """Return `name`.sql for every segment at once, joined by union all."""
    parts = [f"({statement(name, segment)})" for segment in range(SEGMENTS)]
    return "\nunion all\n".join(parts)


@cache
def numbered(text: LiteralString) -> tuple[bytes, tuple[str, ...]]:
    """Return a statement with its parameters as $1, $2 …, and their names in this order, for a raw cursor.

    That spares psycopg the conversion, which it does not remember of texts as long as a look over all segments: 0.1 ms.
    """
    order = tuple(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
    raw = re.sub(r"%\((\w+)\)s", lambda found: f"${order.index(found[1]) + 1}", text)
    return raw.replace("%%", "%").encode(), order


def names() -> list[str]:
    """Return the names of all statements."""
    return sorted(
        entry.name.removesuffix(".sql") for entry in files(__package__).iterdir() if entry.name.endswith(".sql")
    )
