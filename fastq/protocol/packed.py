"""A packed batch, the JSON array in which a lease keeps its jobs, and what to do with one that cannot be decoded.

JSON is read by orjson to a depth of 1,024, and by PostgreSQL up to the size of its stack. Here it is only cut into
pieces, so that one job whose payload is nested more deeply than that does not hide its neighbours.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

Row = list[Any]
"""[pos, task, attempt, enqueued_ms, payload] or these and [id, meta] or these and [group], as the claim packs them."""

POS, TASK, ATTEMPT, ENQUEUED_MS, PAYLOAD, ID, META, GROUP = range(8)

_NAMES = {PAYLOAD: "payload", META: "meta"}
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)


def decode(batch: bytes) -> tuple[list[Row], dict[int, str]]:
    """Return the rows of a batch; and by their places, why some cannot be decoded: they have None in there."""
    try:
        return orjson.loads(batch), {}
    except orjson.JSONDecodeError:
        pass
    rows: list[Row] = []
    bad: dict[int, str] = {}
    for place, fields in enumerate(_cut(batch)):
        row: Row = []
        for number, field in enumerate(fields):
            try:
                row.append(orjson.loads(field))
            except orjson.JSONDecodeError as exc:
                row.append(None)
                bad[place] = f"the {_NAMES.get(number, 'row')} cannot be decoded: {exc}"
        rows.append(row)
    return rows, bad


def defused(batch: bytes) -> bytes | None:
    """Return a batch in which what cannot be decoded stands as a string of its text; None if all of it can be."""
    if not decode(batch)[1]:
        return None
    rows = (b"[" + b",".join(map(_readable, fields)) + b"]" for fields in _cut(batch))
    return b"[" + b",".join(rows) + b"]"


def _readable(field: bytes) -> bytes:
    try:
        orjson.loads(field)
    except orjson.JSONDecodeError:
        return orjson.dumps(field.decode())
    return field


def _cut(batch: bytes) -> list[list[bytes]]:
    """Return the texts of the fields of each row, whatever is in them."""
    rows: list[list[bytes]] = []
    depth = start = 0
    for token in _TOKEN.finditer(batch):
        char = token.group()[:1]
        if char in b"[{":
            depth += 1
            if depth == 2:
                rows.append([])
                start = token.end()
        elif char in b"]},":
            if depth == 2:
                rows[-1].append(batch[start : token.start()])
                start = token.end()
            depth -= char != b","
    return rows
