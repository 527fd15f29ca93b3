"""The line that tells how far long work is: rewritten on a terminal; elsewhere a line now and then, or none."""

from __future__ import annotations

import time
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from fastq.terminal.safe import safe_line
from fastq.terminal.speech import clever, colours

if TYPE_CHECKING:
    from rich.live import Live

_EVERY_S = 0.1
_BAR_MOST, _BAR_LEAST = 30, 8


class Progress:
    """What is being done, and how far it is. Call `show` as often as you like.

    A stream that fails, as when the terminal is closed, is not written to any more: progress is no reason to stop.
    """

    def __init__(self, stream: IO[str], *, elsewhere_every_s: float | None = None) -> None:
        self._stream = stream
        self._live = _live(stream) if clever(stream) else None
        self._every_s = _EVERY_S if self._live is not None else elsewhere_every_s
        self._started = time.monotonic()
        self._shown_at = 0.0 if self._live is not None else self._started
        self._last: tuple[str, str, float | None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        self.leave()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def show(self, what: str, words: str = "", share: float | None = None) -> None:
        """Show a bar for the share (0 to 1) that is done, if it is known, and words after it.

        A terminal sees it at most ten times a second, and whenever something else begins.
        """
        new = self._live is not None and (self._last is None or self._last[0] != what)
        self._last = (what, words, share)
        if self._every_s is not None and (new or time.monotonic() - self._shown_at >= self._every_s):
            now = time.monotonic()
            self._shown_at = now
            self._write()

    def clear(self) -> None:
        """Remove the line, to make room for text; the next `show` brings it back."""
        self._end(keep=False)
        self._shown_at = 0.0

    def leave(self) -> None:
        """Show how far it came, and let that stand."""
        if self._last is not None and self._every_s is not None:
            self._write()
            self._end(keep=True)

    def _write(self) -> None:
        assert self._last is not None, "shown before there was anything to show"
        what, words, share = self._last
        try:
            if self._live is None:
                self._stream.write(safe_line(f"{what}: {words}" if words else what) + "\n")
                self._stream.flush()
            else:
                if not self._live.is_started:
                    self._live.start()
                self._live.update(
                    _line(safe_line(what), safe_line(words), share, self._live.console.width), refresh=True
                )
        except OSError:
            self._live = self._every_s = None

    def _end(self, *, keep: bool) -> None:
        if self._live is None or not self._live.is_started:
            return
        self._live.transient = not keep
        try:
            self._live.stop()
        except OSError:
            self._live = self._every_s = None


def _live(stream: IO[str]) -> Live:
    from rich.console import Console
    from rich.live import Live

    class Calm(Console):
        """A console that never hides the cursor: whoever is killed could not bring it back."""

        def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002 - Rich's
            return False

    console = Calm(file=stream, force_terminal=True, color_system=colours(stream), highlight=False)
    # It is drawn when we say so, and by no thread: what is below may fork.
    return Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)


def _line(what: str, words: str, share: float | None, columns: int) -> Any:
    """Return what and words, with a bar between them where there is room for one."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    line = Table.grid(padding=(0, 2, 0, 0))
    cells: list[Any] = [Text(what, no_wrap=True)]
    if share is not None:
        words = f"{min(share, 1.0):>4.0%}  {words}"
        width = min(_BAR_MOST, columns - len(what) - len(words) - 5)
        cells += [ProgressBar(total=1.0, completed=min(share, 1.0), width=width)] if width >= _BAR_LEAST else []
    cells.append(Text(words, no_wrap=True, overflow="ellipsis"))
    line.add_row(*cells)
    return line
