"""How a process ended, read from its wait status, in words that a log can use. Pure."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from fastq.states import ExitCode

_MEANING = {
    ExitCode.USAGE: "usage or import error",
    ExitCode.DATABASE: "database unreachable",
    ExitCode.SCHEMA: "schema missing, too old or too new",
    ExitCode.OVERRAN: "drain ran past its deadline",
}


@dataclass(frozen=True, slots=True)
class Exit:
    """The raw status that waitpid gave for a process that is gone."""

    status: int

    @property
    def code(self) -> int | None:
        """The exit code, or None when a signal ended the process."""
        return os.WEXITSTATUS(self.status) if os.WIFEXITED(self.status) else None

    @property
    def signal(self) -> int | None:
        """The number of the signal that ended the process, or None."""
        return os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else None

    def __str__(self) -> str:
        if self.signal is not None:
            return f"killed by {_signal_name(self.signal)}"
        code = self.code
        meaning = _MEANING.get(ExitCode(code)) if code in set(ExitCode) else None
        return f"exit code {code}" + (f", {meaning}" if meaning else "")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
