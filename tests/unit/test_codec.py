"""Values to JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec
import pytest

from fastq import codec
from fastq.errors import ArgumentError

pytestmark = pytest.mark.unit


class Colour(Enum):
    """An enum."""

    RED = "red"


@dataclass
class Point:
    """A dataclass."""

    x: Any


class Struct(msgspec.Struct):
    """A msgspec struct."""

    x: Any


class Model:
    """What looks like a pydantic model."""

    def model_dump(self, *, mode: str) -> dict[str, str]:
        """Return its fields."""
        return {"mode": mode}


class BrokenModel:
    """One whose dump fails."""

    def model_dump(self, *, mode: str) -> dict[str, str]:
        """Fail."""
        raise ValueError("no")


WRAPS: list[Callable[[float], Any]] = [
    lambda x: x,
    lambda x: {"a": x, "b": None},
    lambda x: {"a": {"b": [1, (None, x)]}},
    lambda x: {x: 1},
    lambda x: Point(x),
    lambda x: [Struct(x)],
    lambda x: {x},
]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": 1, "b": [None, True, 1.5, "ü"]}, '{"a":1,"b":[null,true,1.5,"ü"]}'),
        (datetime(2024, 1, 2, 3, tzinfo=UTC), '"2024-01-02T03:00:00Z"'),
        (date(2024, 1, 2), '"2024-01-02"'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (Decimal("1.10"), '"1.10"'),
        (Colour.RED, '"red"'),
        (Point(1), '{"x":1}'),
        (Struct(1), '{"x":1}'),
        (Model(), '{"mode":"json"}'),
        (timedelta(days=1, seconds=90), '"P1DT90S"'),
        ([b"\x00\xff", bytearray(b"a"), b""], '["AP8=","YQ==",""]'),
        ({"b", "a"}, '["a","b"]'),
        (frozenset({7}), "[7]"),
        ((1, 2), "[1,2]"),
        ({1: "x", Colour.RED: 2}, '{"1":"x","red":2}'),
        ("\0\t\n", r'"\u0000\t\n"'),
        (2**63, "9223372036854775808"),
    ],
)
def test_what_can_be_written(value: Any, text: str) -> None:
    """Compact, without raw control characters."""
    assert codec.dumps(value).decode() == text


@pytest.mark.parametrize("value", [object(), "\ud800", 2**64, {(1, 2): 3}, BrokenModel(), lambda: None])
def test_what_cannot(value: Any) -> None:
    """An ArgumentError, whatever the reason."""
    with pytest.raises(ArgumentError, match="cannot be written as JSON"):
        codec.dumps(value)


def test_loops_are_refused() -> None:
    """A structure that contains itself is not written for ever."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ArgumentError):
        codec.dumps(loop)


class Odd(Enum):
    """An enum of a number that JSON has not."""

    NAN = float("nan")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("wrap", WRAPS, ids=range(len(WRAPS)))
def test_numbers_that_json_has_not(wrap: Callable[[float], Any], number: float) -> None:
    """A number that cannot travel is refused, not replaced by null, wherever it stands."""
    with pytest.raises(ArgumentError, match="nan and infinity"):
        codec.dumps(wrap(number))
    assert codec.dumps(wrap(1.5))


def test_an_enum_of_nan_is_refused() -> None:
    """It is written by its value."""
    with pytest.raises(ArgumentError, match="nan and infinity"):
        codec.dumps([Odd.NAN])


@pytest.mark.parametrize("value", [None, "null", {"null": [None, 1.5]}, Point(None), {None: Struct(1)}])
def test_nulls_that_were_given(value: Any) -> None:
    """None, and texts that say null, are no numbers that got lost."""
    assert b"null" in codec.dumps(value)
