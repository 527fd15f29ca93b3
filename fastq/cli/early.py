"""What comes before the command line itself, and before slow imports: streams, Ctrl-C, and whose files these are.

Imports only the standard library, and little of it.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

STOPPED = 130


def open_streams() -> None:
    """Lead stdin, stdout and stderr to nowhere where they were closed, as by `2>&-`.

    Otherwise the next file or socket would get the free number, and what is meant for stderr would be written there.
    """
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free, so this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, "w" if fd else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def catch_interrupt() -> None:
    """Let Ctrl-C end the process with one word while it still imports: nothing has begun, and nobody would catch it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)


def release_interrupt() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _stop(_signum: int, _frame: FrameType | None) -> None:
    try:
        os.write(2, b"stopped\n")
    finally:
        os._exit(STOPPED)


def stranger() -> str | None:
    """Return what is wrong where another distribution has put its `fastq` into our package's folder; else None.

    Only the folder that we are imported from is looked at, by name: that takes less than a millisecond.
    """
    import re

    package = sys.modules["fastq"]
    site = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH120, PTH100 - light
    overwritten = not hasattr(package, "_HOMES")
    beside = [name for name in os.listdir(site) if re.fullmatch(r"fastq-\d.*\.(dist|egg)-info", name)]  # noqa: PTH208
    if not overwritten and not beside:
        return None
    return (
        f"another distribution named fastq is installed in {site}, and it and fastq-pg overwrite each other's files:"
        " `pip uninstall fastq fastq-pg`, then `pip install fastq-pg`"
    )
