"""A line that tells how far a long piece of work is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import shutil
import time
from types import TracebackType
from typing import IO, Self

_TERMINAL_EVERY_S = 0.1
_ELSEWHERE_EVERY_S = 2.0
_BAR_MOST = 40


class Progress:
    """The progress of one piece of work of `total` parts. Use as a context manager; call `at` as often as you like."""

    def __init__(self, what: str, total: int, stream: IO[str]) -> None:
        self._what = what
        self._total = total
        self._stream = stream
        self._terminal = stream.isatty()
        self._every_s = _TERMINAL_EVERY_S if self._terminal else _ELSEWHERE_EVERY_S
        self._started = self._shown_at = time.monotonic()
        self._done, self._note = 0, ""

    def __enter__(self) -> Self:
        """Show that it begins."""
        if self._terminal:
            self._write()
        return self

    def __exit__(self, kind: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        """Show how far it came, and leave the line."""
        self._write()
        if self._terminal:
            self._stream.write("\n")
            self._stream.flush()

    def at(self, done: int, note: str = "") -> None:
        """Say that `done` parts are done; shown when it is time to."""
        self._done, self._note = done, note
        if (now := time.monotonic()) - self._shown_at >= self._every_s:
            self._shown_at = now
            self._write()

    def _write(self) -> None:
        elapsed_s = time.monotonic() - self._started
        columns = shutil.get_terminal_size().columns if self._terminal else None
        text = line(self._what, self._done, self._total, elapsed_s, self._note, columns)
        self._stream.write(f"\r{text}\x1b[K" if self._terminal else text + "\n")
        self._stream.flush()


def line(what: str, done: int, total: int, elapsed_s: float, note: str, columns: int | None) -> str:
    """Return one line; with a bar if there are `columns` to fill."""
    rate = f"{done / elapsed_s:,.0f}/s" if done and elapsed_s else ""
    words = "  ".join(filter(None, [f"{done:,}/{total:,}", rate, note]))
    if columns is None:
        return f"{what}: {words}"
    width = min(_BAR_MOST, columns - len(words) - 24)
    filled = width * done // total if total else width
    bar = f"[{'#' * filled}{'.' * (width - filled)}]  " if width >= 8 else ""
    return f"{what:<18} {bar}{words}"[: columns - 1]
