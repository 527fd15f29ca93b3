"""Makes jobs of JSON lines: reads blocks of whole lines, checks each against its task. Memory stays flat.

An object a line is a job's arguments. Empty lines, CRLF, a byte order mark and a last line without newline are fine.
Knows no database; `enqueue.py` joins the two.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Self

from fastq import codec
from fastq.errors import ArgumentError, FastqError, PayloadTooLarge, UsageError
from fastq.job import JobSpec, Options
from fastq.protocol.enqueue import payload
from fastq.task import Task

BLOCK_BYTES = 256 * 1024
SAID_MOST = 20
"""So many bad lines are reported one by one; the rest is counted."""

_OVERLONG = b"\0a line that was too long to keep"
_BOM = b"\xef\xbb\xbf"
_SMALL = 500
"""A shorter line needs no trial encoding: it cannot be nested too deep (254 levels take 508 bytes) nor be too large."""


class BadLine(UsageError):
    """A line cannot become a job. Nothing was enqueued."""


class Interrupt:
    """Ctrl-C while lines are streamed. It takes effect where the stream is read, so that it is known what became of the
    transaction: raised there, nothing was enqueued; coming later, the commit is waited for. A second one acts at once.
    """

    def __init__(self) -> None:
        self.hit = self.forced = self.reading = False
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *exc: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.forced, self.hit = self.hit, True
        if self.forced or self.reading:
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed since the last read."""
        if self.hit:
            raise KeyboardInterrupt


class Lines:
    """A file's lines in blocks, without their newlines. A line longer than `longest` bytes is not kept in memory."""

    def __init__(self, fd: int, *, longest: int, interrupt: Interrupt) -> None:
        self._fd = fd
        self._longest = longest
        self._interrupt = interrupt
        self.bytes_read = 0

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield lists of lines, one per read."""
        rest, dropping = b"", False
        while chunk := self._read():
            if not self.bytes_read:
                chunk = chunk.removeprefix(_BOM)
            self.bytes_read += len(chunk)
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            if dropping and lines:
                lines[0], dropping = _OVERLONG, False
            if dropping or len(rest) > self._longest:
                rest, dropping = b"", True
            yield lines
        if rest or dropping:
            yield [_OVERLONG if dropping else rest]

    def _read(self) -> bytes:
        try:
            self._interrupt.reading = True
            self._interrupt.check()
            return self._read_once()
        except OSError as exc:
            raise FastqError(f"reading the lines failed: {exc.strerror}; nothing was enqueued") from None
        finally:
            self._interrupt.reading = False
            self._interrupt.check()  # the end of a pipe may be Ctrl-C's doing: its writer got one too

    def _read_once(self) -> bytes:
        while True:
            try:
                return os.read(self._fd, BLOCK_BYTES)
            except BlockingIOError:  # somebody else made the pipe non-blocking: no data is not the end
                select.select([self._fd], [], [])


class Feed:
    """The jobs of a stream of lines, and the count of what was left out."""

    def __init__(
        self, task: Task[Any, Any], options: Options, *, limit_bytes: int, skip: bool, say: Callable[[str], None]
    ) -> None:
        self._task = task
        self._options = options
        self._limit_bytes = limit_bytes
        self._skip = skip
        self._say = say
        self.skipped = 0
        self.lines = 0

    def specs(self, blocks: Iterator[list[bytes]]) -> Iterator[JobSpec]:
        """Yield a job for every good line.

        Raises:
            BadLine: a line is bad and bad lines are not to be skipped.

        """
        loads, check, spec = codec.loads, self._task.arguments.opener, JobSpec
        name, options = self._task.name, self._options
        for block in blocks:
            for number, line in enumerate(block, self.lines + 1):
                try:
                    args = loads(line)
                    check(args)
                    if len(line) > _SMALL:
                        payload(spec(name, args, options), self._limit_bytes)
                except Exception as exc:  # noqa: BLE001 - a parameter's own type may raise anything
                    self._bad(number, line, exc)
                    continue
                yield spec(name, args, options)
            self.lines += len(block)

    def _bad(self, number: int, line: bytes, exc: Exception) -> None:
        if not line.strip():
            return
        what = f"line {number:,}: {reason(self._task, line, exc, limit_bytes=self._limit_bytes)}"
        if not self._skip:
            raise BadLine(f"{what}; nothing was enqueued (--on-error skip leaves bad lines out)")
        self.skipped += 1
        if self.skipped <= SAID_MOST:
            self._say(f"{what}; skipped")
        elif self.skipped == SAID_MOST + 1:
            self._say("more bad lines are skipped and only counted")


def longest_line(limit_bytes: int) -> int:
    """Return the length of the longest line worth keeping: rewritten JSON can be shorter, seldom by a factor of 8."""
    return 8 * limit_bytes + BLOCK_BYTES


def reason(task: Task[Any, Any], line: bytes, exc: Exception, *, limit_bytes: int) -> str:
    """Return why a line cannot be a job, in words that help to find the place."""
    if line is _OVERLONG:
        return f"it is longer than {longest_line(limit_bytes):,} bytes"
    if isinstance(exc, PayloadTooLarge):
        return f"its arguments are larger than the limit of {limit_bytes:,} bytes of JSON"
    if isinstance(exc, ArgumentError):
        return str(exc).removesuffix("; nothing was enqueued")
    try:
        line.decode()
        args = codec.loads(line)
    except UnicodeDecodeError as wrong:
        return f"byte {wrong.start + 1} is not valid UTF-8"
    except ValueError as wrong:
        text = str(wrong).partition(": line 1 column")[0]
        return f"not valid JSON: {text} (column {getattr(wrong, 'colno', 1)})"
    return misfit(task, args) or f"{exc}"


def misfit(task: Task[Any, Any], args: object) -> str | None:
    """Return what is wrong with a payload for this task; None when it can be run."""
    if not isinstance(args, dict):
        return f"not an object of arguments, like {example(task)}, but {_KINDS.get(type(args), 'something else')}"
    takes = task.arguments
    if missing := takes.required - args.keys():
        return f"{task.name} needs {_list(missing)}"
    if not takes.open_ended and (extra := args.keys() - takes.names):
        return f"{task.name} has no parameter {_list(extra)}; it takes {_list(takes.names) or 'none'}"
    try:
        takes.opener(args)
    except Exception as exc:  # noqa: BLE001 - a parameter's own type may raise anything
        return str(exc) or type(exc).__name__
    return None


_KINDS = {list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean", type(None): "null"}


def example(task: Task[Any, Any]) -> str:
    """Return what a line for this task looks like."""
    names = sorted(task.arguments.required) or sorted(task.arguments.names)
    return "{" + ", ".join(f'"{name}": …' for name in names) + "}"


def _list(names: set[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))
