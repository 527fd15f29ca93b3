"""Values that a column's type lets in and nobody expects there. Seeded, so that a run can be repeated."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

WORDS = (
    *("", " ", "default", "a", "ü", "\U0010ffff", "x" * 10_000, "\x1b[31mred\x1b[0m", "a\nb", "'; drop table x; --"),
    *("%s", "{}", "null", "NaN", "\u202eabc", "stranger", "chaos.jobs.stranger"),
)
INTEGERS = {"int2": 2**15, "int4": 2**31, "int8": 2**63}
TIMES = (
    *("infinity", "-infinity", "4713-01-01 00:00:00+00 BC", "0001-01-01 00:00:00+00", "1970-01-01 00:00:00+00"),
    *("9999-12-31 23:59:59+00", "10000-01-01 00:00:00+00", "294276-12-31 23:59:59+00", "now", "tomorrow", "yesterday"),
)
INTERVALS = ("0", "-1 hour", "1 second", "20000 years", "-20000 years", "178000000 years", "1 month", "1 microsecond")
META_KEYS = ("crashes", "errors", "headers", "checkpoint", "unique", "ordered", "snoozes", "on_dead", "result", "x")
DEPTHS = (1, 60, 253, 254, 255, 300, 1100, 3000)
LEAVES = (
    *("null", "true", "0", "-1", "1e400", "1e-400", "123456789012345678901234567890", "0.1", '"x"', '""', "[]", "{}"),
    *('"\\u0000"', '"\\ud800"', "9223372036854775807", "-9223372036854775809"),
)
FLOATS = (0.0, -1.0, 1.0, float("inf"), float("-inf"), float("nan"), 1e300)
BYTES = (b"", b"[]", b"[[1]]", b"\xff\xfe", b"[" * 300 + b"]" * 300, b'[[1,"t",0,0,{}]]')


class Strange:
    """Draws values for the types that the schema has."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def word(self) -> str:
        """Return a text."""
        return self.rng.choice(WORDS)

    def integer(self, kind: str) -> int:
        """Return an integer of that type, mostly one at an end of its range."""
        most = INTEGERS[kind]
        return self.rng.choice((0, 1, 2, -1, 3, 9, most - 1, most - 2, -most, self.rng.randrange(-most, most)))

    def json(self, depth: int = 3) -> str:
        """Return a JSON text: something flat, something nested a few levels or a few hundred."""
        dice = self.rng.random()
        if dice < 0.5 or not depth:
            return self.rng.choice(LEAVES)
        if dice < 0.6:
            levels = self.rng.choice(DEPTHS)
            return "[" * levels + "]" * levels
        if dice < 0.8:
            return f"[{','.join(self.json(depth - 1) for _ in range(self.rng.randrange(4)))}]"
        return self.object({self.rng.choice(("a", "b", "", "a")): self.json(depth - 1) for _ in range(3)})

    def object(self, members: dict[str, str]) -> str:
        """Return a JSON object of texts that are JSON already."""
        return "{" + ",".join(f'"{key}":{value}' for key, value in members.items()) + "}"

    def meta(self) -> str | None:
        """Return what may be kept beside a job: nothing, no object, or one with fastq's own keys turned round."""
        dice = self.rng.random()
        if dice < 0.2:
            return None
        if dice < 0.35:
            return self.json()
        return self.object({key: self.json() for key in self.rng.sample(META_KEYS, self.rng.randint(1, 3))})

    def payload(self, tag: int) -> str:
        """Return arguments by which the job is found again, whatever else is in them."""
        return self.object({"tag": str(tag), self.rng.choice(("value", "value", "value", "other")): self.json()})

    def of(self, kind: str) -> Any:
        """Return a value of a type, by its name in pg_type; None for NULL, and for types that are not known here."""
        if self.rng.random() < 0.05:
            return None
        if kind in INTEGERS:
            return self.integer(kind)
        if kind in ("json", "jsonb"):
            return self.json()
        if kind.startswith("_"):
            return [self.of(kind[1:]) for _ in range(self.rng.randrange(3))]
        some: dict[str, Sequence[Any]] = {
            "text": WORDS,
            "timestamptz": TIMES,
            "interval": INTERVALS,
            "bool": (True, False),
            "float8": FLOATS,
            "bytea": BYTES,
        }
        return self.rng.choice(some.get(kind, (None,)))
