"""Wait statuses in words."""

from __future__ import annotations

import pytest

from fastq.supervisor.exits import Exit

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("status", "code", "signum", "words"),
    [
        (0, 0, None, "exit code 0"),
        (3 << 8, 3, None, "exit code 3, database unreachable"),
        (77 << 8, 77, None, "exit code 77"),
        (9, None, 9, "killed by SIGKILL"),
        (11 | 0x80, None, 11, "killed by SIGSEGV"),
        (40, None, 40, "killed by signal 40"),
    ],
)
def test_exit_in_words(status: int, code: int | None, signum: int | None, words: str) -> None:
    """Codes have their meaning, signals their names."""
    end = Exit(status)
    assert (end.code, end.signal, str(end)) == (code, signum, words)
