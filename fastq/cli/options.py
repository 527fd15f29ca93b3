"""Options that several commands share, and the parameter types they need."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

import click

# No envvar: FASTQ_DSN comes after the app's own, which `find_dsn` sees to; FASTQ_<COMMAND>_DSN is as good as typed.
dsn_option = click.option(
    "--dsn",
    help="PostgreSQL to use. Default: the app's, FASTQ_DSN, DATABASE_URL, PGHOST…, then the embedded one.",
)
json_option = click.option("--json", is_flag=True, help="Write one JSON object, for machines.")


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --log-level and --log-format."""
    levels = click.Choice(["debug", "info", "warning", "error"])
    command = click.option("--log-level", envvar="FASTQ_LOG_LEVEL", type=levels, default="info", show_default=True)(
        command
    )
    formats = click.Choice(["console", "json"])
    return click.option("--log-format", envvar="FASTQ_LOG_FORMAT", type=formats, default="console", show_default=True)(
        command
    )


class Queues(click.ParamType[dict[str, int]]):
    """`mail:3,default:1`: queues with their weights."""

    name = "QUEUE[:WEIGHT],…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int]:
        """Return weights by queue."""
        if isinstance(value, dict):
            return value
        queues: dict[str, int] = {}
        for part in filter(None, (piece.strip() for piece in value.split(","))):
            name, _, weight = part.rpartition(":") if re.search(r":\d+$", part) else (part, "", "1")
            if int(weight) < 1 or not name:
                self.fail(f"{part!r} is not a queue, or a queue and a weight from 1 on, like mail:3", param, ctx)
            queues[name] = int(weight)
        return queues


class Seconds(click.ParamType[float]):
    """`90`, `1.5`, `30s`, `5m`, `2h`, `1d`."""

    name = "SECONDS"
    _UNITS: ClassVar = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, (int, float)):
            return float(value)
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)", value.strip())
        if found is None:
            self.fail(f"{value!r} is not a duration like 90, 30s, 5m or 2h", param, ctx)
        return float(found[1]) * self._UNITS[found[2]]


class Bytes(click.ParamType[int]):
    """`512M`, `2G`, `1048576`."""

    name = "BYTES"
    _UNITS: ClassVar = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return bytes."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+)([KMG]?)i?B?", value.strip(), re.IGNORECASE)
        if found is None:
            self.fail(f"{value!r} is not a size like 512M or 2G", param, ctx)
        return int(found[1]) * self._UNITS[found[2].upper()]


class Number(click.ParamType[Any]):
    """A whole number from `least` on, or `none`."""

    name = "N|none"

    def __init__(self, least: int) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or "none"."""
        if value == "none" or isinstance(value, int):
            return value
        if not re.fullmatch(r"\d{1,9}", value) or int(value) < self._least:
            self.fail(f"{value!r} is not a number from {self._least} on, or none", param, ctx)
        return int(value)


_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Rate(click.ParamType[Any]):
    """`100/s`, `30/m`, `5/h`, or `none`."""

    name = "N/s|m|h"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return how many per second, or "none"."""
        if value == "none" or isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)/([smh])", value.strip())
        if found is None or not float(found[1]):
            self.fail(f"{value!r} is not a rate like 100/s, 30/m or 5/h, or none", param, ctx)
        return float(found[1]) / _PERIODS[found[2]]


def rate_text(per_s: float) -> str:
    """Return a rate as `Rate` takes it, in the shortest period that makes it 1 or more."""
    unit = next((unit for unit, period_s in _PERIODS.items() if per_s * period_s >= 1 - 1e-9), "h")
    return f"{per_s * _PERIODS[unit]:.6g}/{unit}"
