"""Log lines for people (console) and for machines (json). Set up once, before the supervisor forks."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import IO

import orjson

from fastq.terminal.safe import safe, safe_json
from fastq.terminal.speech import coloured

LEVELS = ("debug", "info", "warning", "error")

_COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}


class ConsoleFormatter(logging.Formatter):
    """`12:00:01.234 INFO    worker        4711 message`; colour only on a terminal."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and a traceback where there is one."""
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        name = record.name.removeprefix("fastq.")
        text = f"{at} {record.levelname:<7} {name:<10} {record.process:>7} {record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        text = safe(text)
        code = _COLOURS.get(record.levelname)
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and code else text


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, logger, pid, message, and exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        entry = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return safe_json(orjson.dumps(entry).decode())


def configure(*, format: str = "console", level: str = "info", stream: IO[str] | None = None) -> None:  # noqa: A002
    """Send fastq's logs to `stream` (stderr by default). Other libraries' logs come from warning on."""
    out = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter() if format == "json" else ConsoleFormatter(colour=coloured(out)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("fastq").setLevel(level.upper())
