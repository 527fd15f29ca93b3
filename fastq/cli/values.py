"""The parameter types of the command line: what a person may type for a value, and what it becomes."""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar

import click

WEIGHT_MOST = 1_000_000
_SEPARATORS = re.compile(r"[;|\n\t]")


class Text(click.ParamType[str]):
    """Any text but none: an empty one is most often a variable that was not set."""

    name = "TEXT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        if not value.strip():
            self.fail("it is empty", param, ctx)
        return str(value)


class Name(Text):
    """What can name a queue, a task, a worker: 1 to 255 printable characters."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        if len(value) > 255 or not value.isprintable():
            self.fail(f"{value!r:.80} is not a name of 1 to 255 printable characters", param, ctx)
        return super().convert(value, param, ctx)


class Queues(click.ParamType[dict[str, int]]):
    """`mail:3,default:1`: queues with their weights. A name with a colon in it needs its weight: `eu:mail:1`."""

    name = "QUEUE[:WEIGHT],…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int]:
        """Return weights by queue."""
        if isinstance(value, dict):
            return value
        queues: dict[str, int] = {}
        for part in _parts(self, value, param, ctx):
            name, colon, weight = part.rpartition(":")
            if not colon:
                name, weight = part, "1"
            if not name or not re.fullmatch(r"\d{1,7}", weight) or not 0 < int(weight) <= WEIGHT_MOST:
                self.fail(f"{part!r} is not a queue, or a queue and a weight from 1 on, like mail:3", param, ctx)
            if name in queues:
                self.fail(f"{name!r} is named twice", param, ctx)
            queues[name] = int(weight)
        return queues


class Names(click.ParamType[tuple[str, ...]]):
    """`mail,default`: queues without weights."""

    name = "QUEUE,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the names."""
        if isinstance(value, tuple):
            return value
        parts = _parts(self, value, param, ctx)
        if weighed := [part for part in parts if re.search(r":\d+$", part)]:
            self.fail(f"{weighed[0]!r} has a weight, which means nothing for a queue that is left out", param, ctx)
        return tuple(dict.fromkeys(parts))


def _parts(
    kind: click.ParamType[Any], value: str, param: click.Parameter | None, ctx: click.Context | None
) -> list[str]:
    parts = [piece.strip() for piece in value.split(",") if piece.strip()]
    if not parts:
        kind.fail("it names no queue", param, ctx)
    for part in parts:
        if _SEPARATORS.search(part) or not part.isprintable() or len(part) > 255:
            kind.fail(f"{part!r:.80} is not a queue's name; several are separated by commas", param, ctx)
    return parts


class Seconds(click.ParamType[float]):
    """`90`, `1.5`, `30s`, `5m`, `2h`, `1d`, from `least` to `most` seconds."""

    name = "SECONDS"
    _UNITS: ClassVar = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

    def __init__(self, least: float = 0.0, most: float = math.inf) -> None:
        self._least, self._most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, (int, float)):
            return float(value)
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)", value.strip())
        if found is None:
            self.fail(f"{value!r} is not a duration like 90, 30s, 5m or 2h", param, ctx)
        seconds = float(found[1]) * self._UNITS[found[2]]
        if not self._least <= seconds <= self._most:
            bound = f"less than {self._least:g}" if seconds < self._least else f"more than {self._most:g}"
            self.fail(f"{value} is {bound} s", param, ctx)
        return seconds


class Bytes(click.ParamType[int]):
    """`512M`, `2G`, `1048576`."""

    name = "BYTES"
    _UNITS: ClassVar = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return bytes."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,15})([KMG]?)i?B?", value.strip(), re.IGNORECASE)
        if found is None or not int(found[1]):
            self.fail(f"{value!r} is not a size like 512M or 2G", param, ctx)
        return int(found[1]) * self._UNITS[found[2].upper()]


class Milliseconds(click.FloatRange):
    """A number in a range; nan, which is in every range for Python, is in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number of milliseconds", param, ctx)
        return number


class Number(click.ParamType[Any]):
    """A whole number from `least` to `most`, or `none`."""

    name = "N|none"

    def __init__(self, least: int, most: int = 999_999_999) -> None:
        self._least, self._most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or "none"."""
        if value == "none" or isinstance(value, int):
            return value
        if not re.fullmatch(r"\d{1,9}", value) or not self._least <= int(value) <= self._most:
            self.fail(f"{value!r} is not a number from {self._least} to {self._most:,}, or none", param, ctx)
        return int(value)


_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_RATE_LEAST = 0.01 / 3600


class Rate(click.ParamType[Any]):
    """`100/s`, `30/m`, `5/h`, or `none`."""

    name = "N/s|m|h"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return how many per second, or "none"."""
        if value == "none" or isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)/([smh])", value.strip())
        if found is None or float(found[1]) / _PERIODS[found[2]] < _RATE_LEAST:
            self.fail(f"{value!r} is not a rate like 100/s, 30/m or 5/h, at least 0.01/h, or none", param, ctx)
        return float(found[1]) / _PERIODS[found[2]]


def rate_text(per_s: float) -> str:
    """Return a rate as `Rate` takes it, in the shortest period that makes it 1 or more."""
    unit = next((unit for unit, period_s in _PERIODS.items() if per_s * period_s >= 1 - 1e-9), "h")
    return f"{per_s * _PERIODS[unit]:.6g}/{unit}"
