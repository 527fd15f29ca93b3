"""Values to JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
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

    x: int


class Struct(msgspec.Struct):
    """A msgspec struct."""

    x: int


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


@pytest.mark.parametrize(
    "value", [object(), {"a": b"bytes"}, "\ud800", 2**64, {(1, 2): 3}, BrokenModel(), lambda: None]
)
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


@pytest.mark.xfail(strict=True, reason="orjson writes nan and infinity as null: the handler gets None for a float")
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_has_not(value: float) -> None:
    """A number that cannot travel is refused, not replaced."""
    with pytest.raises(ArgumentError):
        codec.dumps({"a": value})
