"""How the command speaks: `say` for people, `complain` of what went wrong, `answer` for machines.

Everything it writes has been made safe. Colour is for terminals that want it: not with NO_COLOR, not with TERM=dumb.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import IO, Literal

from fastq.terminal.safe import safe, safe_json

_RED, _PLAIN = "\x1b[31m", "\x1b[0m"


def clever(stream: IO[str]) -> bool:
    """Tell whether a stream is a terminal on which a line can be written over."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def coloured(stream: IO[str]) -> bool:
    """Tell whether a stream is a terminal whose user wants colour; NO_COLOR counts when it is not empty."""
    return clever(stream) and not os.environ.get("NO_COLOR")


def colours(stream: IO[str]) -> Literal["standard"] | None:
    """Return the colours of a stream in Rich's words."""
    return "standard" if coloured(stream) else None


def say(text: str = "", *, err: bool = False) -> None:
    """Write text and a newline to stdout, or with `err` to stderr, where nobody's absence stops anything."""
    if not err:
        _write(sys.stdout, safe(text) + "\n")
        return
    with suppress(OSError):
        _write(sys.stderr, safe(text) + "\n")


def complain(text: str) -> None:
    """Write what went wrong to stderr, in red."""
    with suppress(OSError):
        text = safe(text)
        _write(sys.stderr, f"{_RED}{text}{_PLAIN}\n" if sys.stderr and coloured(sys.stderr) else f"{text}\n")


def answer(json: bytes) -> None:
    """Write JSON and a newline to stdout, in UTF-8 as JSON is, whatever the locale says."""
    if sys.stdout is not None:
        sys.stdout.buffer.write(safe_json(json.decode()).encode() + b"\n")
        sys.stdout.flush()


def ready_streams() -> None:
    """Have characters that the locale cannot write shown as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def finish_streams() -> None:
    """Flush stderr and stdout; one that fails is led to nowhere first, or Python would fail with it once more.

    Raises:
        OSError: stdout did not take what was written; that stderr did not is nobody's loss.

    """
    with suppress(OSError):
        _flush(sys.stderr)
    _flush(sys.stdout)


def _flush(stream: IO[str] | None) -> None:
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise


def _write(stream: IO[str] | None, text: str) -> None:
    if stream is not None:
        stream.write(text)
        stream.flush()
