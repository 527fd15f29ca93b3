"""What the processes that tests start have from us: the code of this checkout, whatever is installed, and Ctrl-C."""

from __future__ import annotations

import os
import signal
from pathlib import Path

SOURCE = Path(__file__).parents[1]
"""The checkout whose tests these are."""


def search_path(*folders: Path) -> str:
    """Return a PYTHONPATH: these folders, this checkout, and what was there before."""
    before = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return os.pathsep.join(dict.fromkeys([*map(str, folders), str(SOURCE), *before]))


def prepare() -> None:
    """Have every child run this checkout's code, and take INT and QUIT as in a terminal: some CI ignores them."""
    os.environ["PYTHONPATH"] = search_path()
    for signum, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
        if signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, default)
