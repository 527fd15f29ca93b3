"""An app whose handlers want typed arguments, and tell in the table `probe` what they got."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

import fastq

try:
    import pydantic
except ImportError:  # an optional one
    pydantic = None  # type: ignore[assignment]

app = fastq.App()


class Colour(Enum):
    """Of text."""

    RED = "red"


class Level(IntEnum):
    """Of numbers."""

    HIGH = 3


class Kind(StrEnum):
    """Of text, too."""

    BIG = "big"


class Point(NamedTuple):
    """A pair."""

    x: int
    y: int


@dataclass
class Line:
    """Nested in an order."""

    sku: str
    price: Decimal
    colours: list[Colour] = field(default_factory=list)


@dataclass(frozen=True)
class Order:
    """With something of everything inside."""

    id: UUID
    at: datetime
    lines: list[Line]
    notes: dict[str, Line | None] = field(default_factory=dict)


class Shape(msgspec.Struct):
    """A msgspec model."""

    side: float


if pydantic is not None:

    class Person(pydantic.BaseModel):
        """A pydantic model, nested in itself."""

        name: str
        born: date
        boss: Person | None = None


VALUES: dict[str, Any] = {
    "order": Order(
        id=UUID("0190f3b5-7c3b-7c3b-8c3b-0190f3b57c3b"),
        at=datetime(2026, 11, 21, 9, 30, 0, 123456, tzinfo=UTC),
        lines=[Line("a", Decimal("9.90"), [Colour.RED]), Line("b", Decimal("1E+3"))],
        notes={"x": Line("c", Decimal("-0.1")), "y": None},
    ),
    "level": Level.HIGH,
    "kind": Kind.BIG,
    "born": date(2000, 2, 29),
    "at": time(12, 30, 15),
    "lasts": timedelta(days=1, seconds=2.5),
    "raw": b"\x00\xff\xfe binary",
    "maybe": None,
    "either": 7,
    "tags": {"a", "b"},
    "pair": (1, "x"),
    "point": Point(1, 2),
    "by_number": {1: Decimal("1.5"), 2: Decimal(2)},
    "shape": Shape(1.5),
    "word": "on",
    "blobs": [b"", b"\x80"],
}


async def _tell(what: str, value: object) -> None:
    async with app.client.connection() as conn:
        await conn.execute("insert into probe (what, value, pid) values (%s, %s, 0)", [what, str(value)])


@app.task
async def takes(
    order: Order,
    level: Level,
    kind: Kind,
    born: date,
    at: time,
    lasts: timedelta,
    raw: bytes,
    maybe: Order | None,
    either: int | str,
    tags: set[str],
    pair: tuple[int, str],
    point: Point,
    by_number: dict[int, Decimal],
    shape: Shape,
    word: Literal["on", "off"],
    blobs: list[bytes],
) -> None:
    """Tell which argument is not what was enqueued."""
    got = dict(locals())
    for name, value in VALUES.items():
        same = got[name] == value and type(got[name]) is type(value)
        await _tell("got" if same else "differs", f"{name} {got[name]!r}")


@app.task
async def plainly(order: Order, raw: bytes) -> None:
    """Be the fast way, without a context."""
    await _tell("plainly", order == VALUES["order"] and raw == VALUES["raw"])


@app.task(queue="other")
def in_thread(order: Order, ctx: fastq.Context) -> None:
    """Be synchronous, and enqueue from there."""
    plainly.enqueue_sync(order=order, raw=VALUES["raw"])
    notes.options(headers={"from": ctx.id}).enqueue_sync(n=len(order.lines))


@app.task
async def notes(n: int, ctx: fastq.Context) -> None:
    """Tell what the headers say."""
    await _tell("notes", f"{n} {'from' in ctx.headers}")


@app.task(retries=0)
async def nests(n: int, ctx: fastq.Context) -> None:
    """Enqueue others in its own transaction, which commits for even numbers only; and one beside it."""
    async with ctx.transaction() as conn:
        await app.enqueue(notes.job(n=n), conn=conn)
        await app.enqueue_many([notes.job(n=n), in_thread.job(order=VALUES["order"])], conn=conn)
        if n % 2:
            await ctx.enqueue(notes.job(n=100 + n))
            raise ValueError("odd")


if pydantic is not None:

    @app.task
    async def hires(people: list[Person], head: Person) -> None:
        """Tell of pydantic models."""
        await _tell("hired", f"{head.boss!r} {[type(p).__name__ for p in people]} {people[0].born!r}")
