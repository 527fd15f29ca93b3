"""How the command behaves when it is stopped, when its output goes nowhere, and on poor terminals."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

INTERRUPTING = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"


def test_ctrl_c_while_the_command_is_still_importing_is_one_word(tmp_path: Path) -> None:
    """Before click is there to catch it: `stopped`, exit 130, no traceback."""
    (tmp_path / "click.py").write_text(INTERRUPTING)  # the current directory comes first
    done = subprocess.run(
        [sys.executable, "-m", "fastq", "status"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")
