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
_MOST_ROWS = 1 << 16
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


def decode_payloads(packet: bytes) -> tuple[list[Any], dict[int, str]]:
    """Return the payloads of a packet; and by their places, why some cannot be decoded: they are None in there."""
    try:
        payloads = orjson.loads(packet)
    except orjson.JSONDecodeError:
        rows, bad = decode(b"[" + packet + b"]")
        return (rows[0] if rows else []), bad
    return (payloads, {}) if isinstance(payloads, list) else ([], {})


def repaired(batch: bytes) -> bytes | None:
    """Return a batch that workers and PostgreSQL can take apart; None if it is one as it stands.

    What cannot be decoded stands as a string of its text. What is no row was not packed by a claim: it becomes a job
    of the task "?" that says in its meta that it is unreadable.
    """
    whole: bytes | None = None
    try:
        rows = orjson.loads(batch)
    except orjson.JSONDecodeError:
        whole = b"[" + b",".join(b"[" + b",".join(map(_readable, fields)) + b"]" for fields in _cut(batch)) + b"]"
        rows = orjson.loads(whole) or [batch.decode(errors="backslashreplace")]
    if not isinstance(rows, list) or len(rows) > _MOST_ROWS:
        rows = [rows]
    if all(map(is_row, rows)):
        return whole
    try:
        return orjson.dumps([row if is_row(row) else _no_row(row) for row in rows])
    except TypeError:  # orjson reads what is nested more deeply than it writes
        return orjson.dumps([_no_row(batch.decode(errors="backslashreplace"))])


def _no_row(text: object) -> Row:
    return [0, "?", 0, 0, text, None, {"unreadable": "this is no job as a claim packs it"}]


def unreadable(rows: list[Row]) -> dict[int, str]:
    """Return by their places why some of a repaired batch's rows are no jobs."""
    return {
        place: row[META]["unreadable"]
        for place, row in enumerate(rows)
        if len(row) > META and isinstance(row[META], dict) and isinstance(row[META].get("unreadable"), str)
    }


def is_row(row: object) -> bool:
    """Tell whether this is one job as claims pack it."""
    if not isinstance(row, list) or not PAYLOAD < len(row) <= GROUP + 1 or type(row[TASK]) is not str:
        return False
    numbers = [row[POS], row[ENQUEUED_MS], row[ATTEMPT] << 48 if type(row[ATTEMPT]) is int else None]
    if len(row) > ID and row[ID] is not None:
        numbers.append(row[ID])
    if not all(type(number) is int and -(2**63) <= number < 2**63 for number in numbers):
        return False
    return "\0" not in row[TASK] and (len(row) <= GROUP or type(row[GROUP]) is str)


def _readable(field: bytes) -> bytes:
    try:
        orjson.loads(field)
    except orjson.JSONDecodeError:
        return orjson.dumps(field.decode(errors="backslashreplace"))
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
