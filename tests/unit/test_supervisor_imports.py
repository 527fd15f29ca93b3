"""What importing the supervisor brings into the process that forks."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

FORBIDDEN = ("psycopg", "psycopg_pool", "uvloop", "asyncio", "concurrent.futures", "fastq.worker", "fastq.app")


def test_supervisor_imports_nothing_that_cannot_be_forked() -> None:
    """No database driver, no event loop, no user-facing part of fastq, and of fastq only its words."""
    code = "import sys, fastq.supervisor; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "fastq.supervisor.run" in loaded
    assert not set(FORBIDDEN) & set(loaded)
    words = {
        "fastq",
        "fastq.host",
        "fastq.host.board",
        "fastq.host.child",
        "fastq.host.seats",
        "fastq.host.series",
        "fastq.states",
        "fastq.config",
        "fastq.errors",
    }
    words |= {"fastq.observability", "fastq.observability.totals"}
    assert {name for name in loaded if name.startswith("fastq") and "supervisor" not in name} <= words
