"""A task's parameters: bound when enqueued, opened when run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, Literal, Optional
from uuid import UUID

import msgspec
import pytest

from fastq import codec
from fastq.arguments import Arguments
from fastq.errors import ArgumentError, UsageError

pytestmark = pytest.mark.unit


class Ctx:
    """What is injected in these tests."""


class Colour(Enum):
    """An enum of strings."""

    RED = "red"


class Size(IntEnum):
    """An enum of numbers."""

    BIG = 3


@dataclass
class Address:
    """A dataclass with a nested type and a default."""

    town: str
    since: date | None = None


def arguments(fn: Callable[..., Any]) -> Arguments:
    """Return a function's arguments, with Ctx injected."""
    return Arguments(fn, lambda kind: kind is Ctx)


def plain(a: int, b: str = "b") -> None:
    """Take one argument or two."""


def only_named(a: int, *, b: str, c: float = 1.5) -> None:
    """Take some by name only."""


def open_ended(a: int, b: int = 2, **rest: Any) -> None:
    """Take anything more."""


def ctx_first(ctx: Ctx, a: int) -> None:
    """Have the context first."""


def ctx_middle(a: int, ctx: Ctx, b: int = 2) -> None:
    """Have it in the middle."""


def ctx_last(a: int, *, b: int = 2, ctx: Ctx) -> None:
    """Have it last, by name."""


# -- bind


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "bound"),
    [
        (plain, (1,), {}, {"a": 1}),
        (plain, (1, "x"), {}, {"a": 1, "b": "x"}),
        (plain, (1,), {"b": "x"}, {"a": 1, "b": "x"}),
        (plain, (), {"b": "x", "a": 1}, {"a": 1, "b": "x"}),
        (only_named, (), {"a": 1, "b": "x"}, {"a": 1, "b": "x"}),
        (open_ended, (1,), {"z": 9}, {"a": 1, "z": 9}),
        (ctx_first, (1,), {}, {"a": 1}),
        (ctx_middle, (1, 5), {}, {"a": 1, "b": 5}),
        (ctx_last, (1,), {"b": 5}, {"a": 1, "b": 5}),
        (lambda: None, (), {}, {}),
    ],
)
def test_bind(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], bound: dict[str, Any]) -> None:
    """What fits is a payload by name; defaults stay out of it."""
    assert arguments(fn).bind(args, kwargs) == bound


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "words"),
    [
        (plain, (), {}, "plain needs 'a'"),
        (plain, (), {"b": "x"}, "needs 'a'"),
        (plain, (1, 2, 3), {}, "takes 2 arguments by place, 3 were given"),
        (plain, (1,), {"a": 1}, "got 'a' twice"),
        (plain, (1,), {"z": 1, "y": 2}, "has no parameter 'y', 'z'; it takes 'a', 'b'"),
        (lambda: None, (), {"z": 1}, "it takes none"),
        (only_named, (1,), {}, "needs 'b'"),
        (open_ended, (), {"z": 1}, "needs 'a'"),
        (ctx_middle, (1,), {"ctx": None}, "has no parameter 'ctx'"),
    ],
)
def test_misfits(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], words: str) -> None:
    """What does not fit is refused in words that say what does."""
    with pytest.raises(ArgumentError, match="nothing was enqueued") as caught:
        arguments(fn).bind(args, kwargs)
    assert words in str(caught.value)


def test_keyword_only_means_by_name() -> None:
    """A parameter behind the star is not filled by place."""
    with pytest.raises(ArgumentError, match="takes 1 arguments by place, 3 were given"):
        arguments(only_named).bind((1, "x", 2.0), {})


def test_signatures_that_cannot_work() -> None:
    """Positional-only and starred parameters, and annotations that cannot be resolved, are refused at once."""

    def positional(a: int, /) -> None: ...

    def starred(*args: int) -> None: ...

    def unresolved(a: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    for fn in (positional, starred):
        with pytest.raises(UsageError, match="arguments travel by name"):
            arguments(fn)
    with pytest.raises(UsageError, match="'Missing' cannot be resolved"):
        arguments(unresolved)


def test_injected_parameters_stay_out() -> None:
    """The context is found wherever it stands, and is no part of the payload."""
    for fn in (ctx_first, ctx_middle, ctx_last):
        made = arguments(fn)
        assert [(p.name, p.type) for p in made.injected] == [("ctx", Ctx)]
        assert "ctx" not in made.names
        assert not made.by_place
    assert arguments(plain).by_place
    assert not arguments(only_named).by_place
    assert not arguments(open_ended).by_place


# -- open


def many(
    day: date,
    at: datetime,
    span: timedelta,
    key: UUID,
    price: Decimal,
    colour: Colour,
    size: Size,
    home: Address,
    homes: list[Address],
    by_id: dict[int, Colour],
    maybe: Optional[int],  # noqa: UP045 - the older spelling is a case
    either: int | str,
    mode: Literal["a", "b"],
    tags: frozenset[str],
    pair: tuple[int, str],
    anything: Any,
    later: Address | None = None,
) -> None:
    """Take one of everything."""


def test_everything_survives_the_way_through_json() -> None:
    """Each annotated type arrives as it was given."""
    given = {
        "day": date(2024, 2, 29),
        "at": datetime(2024, 2, 29, 12, 30, 1, 5, UTC),
        "span": timedelta(seconds=90),
        "key": UUID(int=7),
        "price": Decimal("1.10"),
        "colour": Colour.RED,
        "size": Size.BIG,
        "home": Address("Ath", date(2020, 1, 1)),
        "homes": [Address("x")],
        "by_id": {7: Colour.RED},
        "maybe": None,
        "either": "x",
        "mode": "b",
        "tags": frozenset({"b", "a"}),
        "pair": (1, "x"),
        "anything": {"k": [1, None]},
    }
    made = arguments(many)
    payload = codec.loads(codec.dumps(made.bind((), given)))
    assert made.open(payload) == given | {"later": None}


@pytest.mark.parametrize(
    "span", [timedelta(), timedelta(seconds=90), timedelta(microseconds=1), timedelta(days=-1, hours=5), timedelta.max]
)
def test_a_timedelta_arrives(span: timedelta) -> None:
    """It travels as an ISO 8601 duration, to the microsecond and with its sign."""

    def fn(span: timedelta) -> None: ...

    assert arguments(fn).open(codec.loads(codec.dumps({"span": span}))) == {"span": span}


def test_defaults_are_filled_in() -> None:
    """Missing arguments get the defaults of the code that runs, unshared types included."""

    def fn(a: int, b: str = "b", *, c: list[int] = [1]) -> None: ...  # noqa: B006

    assert arguments(fn).open({"a": 1}) == {"a": 1, "b": "b", "c": [1]}


def test_open_ended() -> None:
    """Named parameters are converted, the rest is passed on; a missing one is a misfit."""
    made = arguments(open_ended)
    assert made.open({"a": 1, "z": [1]}) == {"a": 1, "z": [1]}
    with pytest.raises(msgspec.ValidationError, match="'a'"):
        made.open({"z": 1})
    with pytest.raises(msgspec.ValidationError, match="Expected `int`"):
        made.open({"a": "x"})
    with pytest.raises(msgspec.ValidationError, match="Expected `object`"):
        made.open([1])


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({}, "missing required field `a`"),
        ({"a": "x"}, r"Expected `int`, got `str` - at `\$.a`"),
        ({"a": 1, "z": 1}, "unknown field `z`"),
        ([1], "Expected `object`"),
        (None, "Expected `object`"),
        ({"a": None}, "Expected `int`"),
        ({"a": 1.5}, "Expected `int`"),
    ],
)
def test_payloads_that_do_not_fit(payload: Any, words: str) -> None:
    """A payload from anywhere else is checked as a whole, and the message names the place."""
    with pytest.raises(msgspec.ValidationError, match=words):
        arguments(plain).open(payload)


def test_an_unannotated_parameter_takes_anything() -> None:
    """No annotation, no conversion."""

    def fn(a, b=None):  # type: ignore[no-untyped-def]
        ...

    assert arguments(fn).open({"a": {"x": [1]}}) == {"a": {"x": [1]}, "b": None}


def test_a_type_that_json_cannot_make() -> None:
    """A parameter that JSON cannot fill is a misfit in words, not a crash."""

    class Strange: ...

    def fn(a: Strange) -> None: ...

    fn.__annotations__ = {"a": Strange}
    with pytest.raises((NotImplementedError, msgspec.ValidationError), match="cannot be made from JSON"):
        arguments(fn).open({"a": 1})


@pytest.mark.parametrize("name", ["self", "cls", "default", "class_", "_hidden"])
def test_odd_parameter_names(name: str) -> None:
    """Any name that Python takes works."""
    made = arguments(eval(f"lambda {name}: None"))
    assert made.open(made.bind((), {name: 1})) == {name: 1}
