"""The birth of a child: fork, become independent of the parent, run the entry, leave by os._exit.

Knows nothing of seats or policies. A child never returns into its parent's stack, and never runs the exit
handlers that the parent registered.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn, cast

from fastq.supervisor.signals import held_back, reset_in_child

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_NAME_BYTES = 15
# Looked up in the parent, once, so that the child need not load a library between fork and its first check.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """What sets a child apart: the name that `ps` shows, what it closes, the CPU it is pinned to."""

    name: str
    close_fds: Iterable[int] = ()
    cpu: int | None = None


def load(path: str) -> Callable[[object], object]:
    """Import "module:function"."""
    module, _, name = path.partition(":")
    return cast("Callable[[object], object]", getattr(importlib.import_module(module), name))


def fork(main: Callable[[], int], birth: Birth) -> int:
    """Fork a process that exits with what `main` returns; return its pid. OSError when there can be no more."""
    parent = os.getpid()
    _flush()
    with held_back() as mask:
        pid = os.fork()
        if pid == 0:
            _live(main, birth, parent, mask)
    return pid


def _live(main: Callable[[], int], birth: Birth, parent: int, mask: set[int]) -> NoReturn:
    code = 1
    try:
        atexit._clear()  # noqa: SLF001  # the parent's exit handlers are not ours to run

        def life() -> int:
            _part_from_parent(birth, parent, mask)
            return main()

        code = _code_of(life)
        atexit._run_exitfuncs()  # noqa: SLF001  # those that the child registered itself
    finally:
        _flush()
        os._exit(code & 0xFF)


def _part_from_parent(birth: Birth, parent: int, mask: set[int]) -> None:
    for fd in birth.close_fds:
        os.close(fd)
    reset_in_child(mask)
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        _prctl(_PR_SET_NAME, birth.name.encode()[:_NAME_BYTES], 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel knew whom to tell
        os._exit(0)
    if birth.cpu is not None and hasattr(os, "sched_setaffinity"):
        with suppress(OSError):  # the CPU went offline or out of our cpuset: run where we may
            os.sched_setaffinity(0, {birth.cpu})


def _code_of(main: Callable[[], int]) -> int:
    try:
        return main()
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            return leaving.code or 0
        sys.stderr.write(f"{leaving.code}\n")
    except BaseException:  # noqa: BLE001  # whatever it is, the process ends here and says why
        traceback.print_exc()
    return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
