"""Log lines for people (console) and for machines (json), and which loggers write them.

fastq's own lines go through the logger `fastq`, set up before the supervisor forks. The root logger is the app's: what
it has set up there when it was imported, or sets up later, holds. While it has set up nothing, its lines are written as
ours are.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

import orjson

from fastq.observability.runs import current
from fastq.terminal.safe import safe, safe_json
from fastq.terminal.speech import coloured

_COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}
_MOST_EXTRA = 1000
_KNOWN = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName", "per"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the run that a record of the app's was made in. Our own name their job in words, and as extra."""
    run = None if record.name.partition(".")[0] == "fastq" else current()
    return {} if run is None else dict(run.fields)


def _trouble(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """Return the traceback and the stack that come with a record; the exception may be as broken as a job."""
    parts = []
    if record.exc_info:
        try:
            parts.append(formatter.formatException(record.exc_info))
        except Exception as broken:  # noqa: BLE001 - the line is worth more than its traceback
            parts.append(f"(its traceback cannot be written: {type(broken).__qualname__})")
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)


class ConsoleFormatter(logging.Formatter):
    """`12:00:01.234 INFO    worker        4711 message`; colour only on a terminal, and no control characters."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and a traceback where there is one."""
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        name = record.name.removeprefix("fastq.")
        text = f"{at} {record.levelname:<7} {name:<10} {record.process:>7} {record.getMessage()}"
        text += "".join(f" {key}={value}" for key, value in _fields(record).items())
        if trouble := _trouble(self, record):
            text += "\n" + trouble
        text = safe(text)
        code = _COLOURS.get(record.levelname)
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and code else text


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, logger, pid, message, the run, `extra=`, exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, whatever stands in the record."""
        entry: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
            **_fields(record),
        }
        if trouble := _trouble(self, record):
            entry["exception"] = trouble
        for key, value in record.__dict__.items():
            if key not in _KNOWN:
                entry[f"{key}_" if key in entry and value != entry[key] else key] = value
        try:
            line = orjson.dumps(entry, default=_text, option=orjson.OPT_NON_STR_KEYS)
        except (TypeError, ValueError, RecursionError):
            line = orjson.dumps({_text(key): _text(value) for key, value in entry.items()})
        return safe_json(line.decode())


def _text(value: Any) -> Any:
    """Return what JSON can hold in place of a value that it cannot."""
    if isinstance(value, int) and -(2**53) < value < 2**53:
        return value
    try:
        text = value if isinstance(value, str) else repr(value)[:_MOST_EXTRA]
    except Exception as broken:  # noqa: BLE001 - the line is worth more than its extras
        text = f"({type(value).__qualname__}, which raises {type(broken).__qualname__} when it is written)"
    return text.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class _Ours:
    """How this process logs: the handler of `fastq`, the level, and whether the app's own is replaced."""

    handler: logging.Handler
    level: int
    everything: bool


_ours: _Ours | None = None


def configure(
    *,
    format: str = "console",  # noqa: A002
    level: str = "info",
    everything: bool = False,
    stream: IO[str] | None = None,
) -> None:
    """Send fastq's log lines to `stream` (stderr by default), and those of others too where nobody else takes them.

    `everything`: once the app was imported (`adopt`), all lines are written by us, whatever the app has set up.
    """
    global _ours  # noqa: PLW0603 - one process, one way to log: forked children have it too
    out = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter() if format == "json" else ConsoleFormatter(colour=coloured(out)))
    _ours = _Ours(handler, logging.getLevelNamesMapping()[level.upper()], everything)
    log = logging.getLogger("fastq")
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(_ours.level)
    logging.lastResort = handler


def adopt() -> None:
    """Do what has to wait until the app was imported: now it is known what it has set up."""
    if _ours is None:
        return
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "fastq":
            logging.getLogger(name).disabled = False  # logging.config disables all that it does not name
    root = logging.getLogger()
    if _ours.everything:
        root.handlers[:] = [_ours.handler]
    elif root.handlers or root.level != logging.WARNING:
        return
    root.setLevel(_ours.level)
