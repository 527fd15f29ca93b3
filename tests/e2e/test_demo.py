"""`fastq demo` as a user runs it: what it says, what it counts, and that nothing of it stays."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fastq.demo.files import python_files, roots
from fastq.demo.progress import so_far
from fastq.demo.summary import DemoTiming, Summary
from fastq.demo.tables import Failure, FileRun
from fastq.errors import UsageError

pytestmark = pytest.mark.e2e

DEMO = [sys.executable, "-m", "fastq", "demo"]
SMALL = ["--files", "60", "--noop", "2000"]
GOOD = "def one(): pass\nasync def two(): pass\nclass Three:\n    def inner(self): pass\ndef _hidden(): pass\n"


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the directory that the demo makes its own in. Not tmp_path, which a server that serves root cannot enter."""
    path = Path(tempfile.mkdtemp(prefix="fastq-test-demo-"))
    path.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(path))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demo to its end."""
    return subprocess.run([*DEMO, *arguments], capture_output=True, text=True, timeout=120, check=False)


def processes_naming(path: Path) -> list[str]:
    """Return the command lines, or where it can be seen the working directories, that lie below a directory."""
    places = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            places += [(process / "cmdline").read_text(errors="replace"), str((process / "cwd").readlink())]
    if not places:  # not Linux
        places = subprocess.run(
            ["ps", "-axww", "-o", "args="], capture_output=True, text=True, check=True
        ).stdout.split("\n")
    return [place for place in places if str(path) in place]


def test_demo_says_what_it_did(temporary: Path) -> None:
    """Progress goes to stderr, a summary with rates, latency and errors to stdout, and nothing is left."""
    done = run(*SMALL)

    assert done.returncode == 0, done.stderr
    assert "indexing files: 60/60" in done.stderr
    assert re.search(r"files +60 jobs in .* jobs/s\n +enqueued in .*/s\n", done.stdout)
    assert re.search(r"no-ops +2,000 jobs in .* jobs/s\n", done.stdout)
    latency = r"latency +from enqueue\(\) to the running handler.*\n +p50 [\d.]+ ms .* p99 [\d.]+ ms\n"
    assert re.search(latency, done.stdout)
    assert "errors    none" in done.stdout
    assert "next      fastq bench throughput" in done.stdout
    assert list(temporary.iterdir()) == []
    assert processes_naming(temporary) == []


def test_files_that_cannot_be_parsed_are_failed_jobs(temporary: Path, tmp_path: Path) -> None:
    """Good files are counted exactly once; bad ones are errors with their reason."""
    for number in range(5):
        (tmp_path / f"good{number}.py").write_text(GOOD)
    (tmp_path / "syntax.py").write_text("def (:\n")
    (tmp_path / "latin.py").write_bytes(b"name = '\xe9'\n")

    done = run("--path", str(tmp_path), "--noop", "0", "--json", "-p", "1")

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["functions"], found["classes"], found["errors"]) == (10, 5, 2)
    assert found["files"]["jobs"] == 7
    assert {Path(example["path"]).name for example in found["examples"]} == {"syntax.py", "latin.py"}
    assert {example["error"] for example in found["examples"]} == {"SyntaxError"}
    assert found["processes"] == 1
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["starting a PostgreSQL", "starting workers", "draining no-ops"])
def test_a_stopped_demo_leaves_nothing(temporary: Path, moment: str, signum: signal.Signals) -> None:
    """Ctrl-C and TERM, whenever they come: the server is stopped and the directory removed."""
    terminal, theirs = pty.openpty()
    child = subprocess.Popen([*DEMO, "--files", "60"], stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    said = read_until(terminal, moment)
    os.killpg(child.pid, signum)
    said += read_until(terminal, None)
    os.close(terminal)

    assert child.wait(60) == 130, said
    assert "Traceback" not in said
    assert list(temporary.iterdir()) == []
    assert processes_naming(temporary) == []


def test_a_demo_in_the_background_leaves_nothing_either(temporary: Path) -> None:
    """A shell has its background jobs ignore INT and QUIT; what the demo starts can be stopped all the same."""

    def ignore() -> None:
        for signum in (signal.SIGINT, signal.SIGQUIT):
            signal.signal(signum, signal.SIG_IGN)

    child = subprocess.Popen(
        [*DEMO, "--files", "60"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=ignore
    )
    assert child.stdout is not None
    said = read_until(child.stdout.fileno(), "starting workers")  # whose supervisor has no handlers yet
    child.terminate()
    said += read_until(child.stdout.fileno(), None)
    child.stdout.close()

    assert child.wait(60) == 130, said
    assert list(temporary.iterdir()) == []
    assert processes_naming(temporary) == []


def read_until(terminal: int, words: str | None) -> str:
    """Read what a child writes to its terminal until it wrote some words, or until it has ended."""
    said = ""
    while words is None or words not in said:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux says so when the last writer is gone
            piece = b""
        if not piece:
            assert words is None, f"it ended without {words!r}: {said}"
            break
        said += piece.decode(errors="replace")
    return said


def test_keep_leaves_the_data_but_no_server(temporary: Path) -> None:
    """--keep leaves the directory, names it, and stops the server all the same."""
    done = run("--files", "5", "--noop", "0", "--keep")

    assert done.returncode == 0, done.stderr
    (kept,) = temporary.iterdir()
    assert f"FASTQ_HOME={kept} fastq db psql" in done.stderr
    assert (kept / "worker.log").exists()
    assert processes_naming(temporary) == []


def test_mistakes_get_one_sentence(temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file to index, no PostgreSQL to start: a sentence and an exit code, no traceback."""
    empty = run("--path", str(tmp_path))
    monkeypatch.setenv("FASTQ_PG_BIN", str(tmp_path))
    bare = run(*SMALL)

    assert (empty.returncode, bare.returncode) == (2, 3)
    assert empty.stderr == f"fastq: there is no .py file below {tmp_path}\n"
    assert bare.stderr.splitlines()[-1].startswith("fastq: no binaries of PostgreSQL found in FASTQ_PG_BIN=")
    assert list(temporary.iterdir()) == []


def test_files_are_those_of_the_standard_library_and_of_this_environment() -> None:
    """All files lie below the roots, the standard library's first, each once."""
    found = python_files()

    assert len(found) == len(set(found))
    assert found[0].startswith(roots()[0])
    assert any(path.endswith("/click/core.py") for path in found)
    assert python_files(most=3) == found[:3]


def test_names_that_are_not_text_are_left_out(tmp_path: Path) -> None:
    """A file name is bytes; one that is no UTF-8 cannot stand in a job's arguments."""
    (tmp_path / "good.py").touch()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.py")).touch()

    assert python_files([str(tmp_path)]) == [str(tmp_path / "good.py")]
    with pytest.raises(UsageError, match=r"no \.py file"):
        python_files([str(tmp_path / "nowhere")])


def test_progress_is_told_in_words() -> None:
    """How many of how many, at what rate, and a note; no rate before there is one."""
    assert so_far(30, 60, 2.0, "1 error") == "30/60  15/s  1 error"
    assert so_far(0, 2000, 0.1, "") == "0/2,000"
    assert so_far(0, 0, 0.0, "") == "0/0"


@pytest.mark.parametrize("width", [60, 80, 160])
def test_summary_fits_its_terminal(width: int) -> None:
    """Whatever the paths and messages, no line is longer than the terminal is wide; one of something is no plural."""
    long = "/".join(["site-packages", "a_package_with_a_long_name"] * 4) + "/module.py"
    failures = [Failure(path=long, error="SyntaxError", message="invalid syntax\n" * 20)]
    spread = {"p50_ms": 1234.5, "p95_ms": 12345.6, "p99_ms": 123456.7}
    summary = Summary(
        server="18.6 (Debian 18.6-1.pgdg120+1)",
        processes=1,
        files=DemoTiming(jobs=1, enqueue_s=0.1, run_s=1.0),
        noops=DemoTiming(jobs=10_000_000, enqueue_s=10.0, run_s=100.0),
        run=spread,
        wait=spread,
        pings=200,
        functions=1_000_000,
        classes=100_000,
        failures=failures,
        slowest=[FileRun(path=long, run_s=12.3)],
    )
    lines = summary.lines(width)
    assert [line for line in lines if len(line) > max(width, 79)] == []
    text = "\n".join(lines)
    assert "1 worker process\n" in text
    assert "files     1 job in " in text
    assert "1 job failed" in text
    assert "module.py" in text


def test_demo_without_binaries_does_not_advise_what_it_ignores(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs a server of its own, so FASTQ_DSN would not help; the temporary directory goes all the same."""
    monkeypatch.setenv("FASTQ_PG_BIN", str(tmp_path))
    monkeypatch.setenv("FASTQ_DSN", "host=127.0.0.1 port=1")
    done = run(*SMALL)
    assert done.returncode == 3
    assert "not the one of FASTQ_DSN" in done.stderr
    assert done.stderr.rstrip().endswith("pip install 'fastq-pg[embedded]'")
    assert list(temporary.iterdir()) == []
