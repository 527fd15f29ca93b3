"""The steward's pages: totals that never go back, the text that Prometheus reads, health, and the server of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fastq.errors import UsageError
from fastq.host.board import Board, Cell, Word
from fastq.host.series import Count, SeriesTable
from fastq.observability.exposition import exposition, health
from fastq.observability.totals import Totals
from fastq.states import CellState
from fastq.steward import http
from fastq.steward.http import Http, Response, parse_address


def worker(board: Board, index: int, *, pid: int, succeeded: int = 0, state: CellState = CellState.RUNNING) -> Cell:
    """Let a worker live in a cell."""
    cell = board.cells[index]
    cell.clear()
    cell[Word.PID], cell[Word.SUCCEEDED], cell.state = pid, succeeded, state
    return cell


@pytest.fixture
def board() -> Board:
    """Three cells for four running jobs each."""
    return Board(cells=3, running=4)


def succeeded(totals: Totals) -> dict[int, int]:
    """Return the succeeded jobs by cell."""
    return {index: counts[Word.SUCCEEDED] for index, counts in totals.by_cell().items()}


# -- totals


@pytest.mark.unit
def test_totals_survive_a_cleared_and_reused_cell(board: Board) -> None:
    """A cell's series goes on from where its earlier worker left it."""
    totals = Totals()
    cell = worker(board, 0, pid=11, succeeded=100)
    totals.observe(board.cells)
    cell.clear()
    totals.observe(board.cells)
    assert succeeded(totals) == {0: 100}
    worker(board, 0, pid=12, succeeded=7)
    totals.observe(board.cells)
    totals.observe(board.cells)
    assert succeeded(totals) == {0: 107}


@pytest.mark.unit
def test_totals_notice_a_new_worker_that_counted_more_than_the_old_one(board: Board) -> None:
    """Reuse between two looks is told by the pid, not by a smaller number."""
    totals = Totals()
    worker(board, 0, pid=11, succeeded=100)
    totals.observe(board.cells)
    worker(board, 0, pid=12, succeeded=250)
    totals.observe(board.cells)
    assert succeeded(totals) == {0: 350}


@pytest.mark.unit
def test_totals_do_not_go_back_while_a_cell_is_being_cleared(board: Board) -> None:
    """A cell that is read half cleared leaves the series where it was."""
    totals = Totals()
    cell = worker(board, 0, pid=11, succeeded=100)
    totals.observe(board.cells)
    cell[Word.SUCCEEDED] = 0
    totals.observe(board.cells)
    assert succeeded(totals) == {0: 100}


@pytest.mark.unit
def test_cells_that_never_had_a_worker_have_no_series(board: Board) -> None:
    """Only used cells are shown."""
    totals = Totals()
    worker(board, 1, pid=11)
    totals.observe(board.cells)
    assert list(totals.by_cell()) == [1]


# -- text


@pytest.mark.unit
def test_text_has_every_family_once_with_help_and_type(board: Board) -> None:
    """Each sample follows the HELP and TYPE of its family, and every line is a comment or a sample."""
    worker(board, 0, pid=11, succeeded=5).running[2] = 99
    text = exposition(board.cells, Totals(), leading=True, beat_age_s=1.25)
    families = [line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(families) == len(set(families)) == 16
    assert text.endswith("\n")
    for line in text.splitlines():
        assert line.startswith("# ") or line.split("{")[0].split(" ")[0] in families
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert samples['fastq_jobs_succeeded_total{cell="0"}'] == "5"
    assert samples['fastq_jobs_running{cell="0"}'] == "1"
    assert samples['fastq_workers{state="running"}'] == "1"
    assert samples["fastq_leader"] == "1"
    assert samples["fastq_heartbeat_age_seconds"] == "1.25"


@pytest.mark.unit
def test_text_has_histograms_of_each_queue_and_task(board: Board) -> None:
    """Cumulative, with sum and count, whatever stands in the names."""
    cell = worker(board, 0, pid=11)
    series = SeriesTable(cell.series).of('q"\\', "t\n")
    series.add(Count.SUCCEEDED, 5)
    series.ran(0.003, 2)
    series.spent(0.0065)
    series.waited(1500)
    lines = exposition(board.cells, Totals(), leading=False, beat_age_s=None).splitlines()
    label = 'queue="q\\"\\\\",task="t\\n"'
    for line in (
        f'fastq_task_jobs_total{{{label},outcome="succeeded"}} 5',
        f'fastq_task_run_seconds_bucket{{{label},le="0.001"}} 3',
        f'fastq_task_run_seconds_bucket{{{label},le="0.004"}} 5',
        f'fastq_task_run_seconds_bucket{{{label},le="+Inf"}} 5',
        f"fastq_task_run_seconds_sum{{{label}}} 0.0065",
        f"fastq_task_run_seconds_count{{{label}}} 5",
        f'fastq_task_wait_seconds_bucket{{{label},le="1.024"}} 0',
        f'fastq_task_wait_seconds_bucket{{{label},le="2.048"}} 1',
        f"fastq_task_wait_seconds_sum{{{label}}} 1.5",
    ):
        assert line in lines


@pytest.mark.unit
def test_prometheus_reads_the_text(board: Board) -> None:
    """By its own client's parser: counters end in _total, histograms have all their parts, names are what they were."""
    series = SeriesTable(worker(board, 0, pid=11, succeeded=5).series).of('q"\\', "t\n")
    series.add(Count.SUCCEEDED, 5)
    series.ran(0.003, 2)
    text = exposition(board.cells, Totals(), leading=True, beat_age_s=1.25)
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert len(found) == 16
    for family in found.values():
        ends = {sample.name.removeprefix(family.name) for sample in family.samples}
        assert ends <= {"counter": {"_total"}, "histogram": {"_bucket", "_sum", "_count"}}.get(family.type, {""})
    (jobs,) = [s for s in found["fastq_task_jobs"].samples if s.labels["outcome"] == "succeeded"]
    assert (jobs.labels["queue"], jobs.labels["task"], jobs.value) == ('q"\\', "t\n", 5)


@pytest.mark.unit
def test_text_without_a_heartbeat_yet(board: Board) -> None:
    """Before the first heartbeat there is no age of it."""
    assert "heartbeat" not in exposition(board.cells, Totals(), leading=False, beat_age_s=None)


@pytest.mark.unit
def test_dead_worker_runs_nothing(board: Board) -> None:
    """What a dead worker was running is still in its cell, but it does not run."""
    worker(board, 0, pid=11, state=CellState.DEAD).running[2] = 99
    text = exposition(board.cells, Totals(), leading=False, beat_age_s=None)
    assert 'fastq_jobs_running{cell="0"} 0' in text.splitlines()


# -- health


@pytest.mark.unit
@pytest.mark.parametrize(
    ("state", "status"),
    [(CellState.STARTING, "ok"), (CellState.RUNNING, "ok"), (CellState.DRAINING, "draining")],
)
def test_living_workers_and_a_young_heartbeat_are_healthy(board: Board, state: CellState, status: str) -> None:
    """A host that starts, runs or drains is well."""
    worker(board, 0, pid=11, state=state)
    found = health(board.cells, beat_age_s=1.0, lease_s=30.0)
    assert (found.ok, found.status, found.workers) == (True, status, {state.name.lower(): 1})


@pytest.mark.unit
@pytest.mark.parametrize("beat_age_s", [None, 30.0, 99.0])
def test_heartbeat_older_than_the_lease_is_unwell(board: Board, beat_age_s: float | None) -> None:
    """Without a heartbeat within the lease others take this host's jobs."""
    worker(board, 0, pid=11)
    assert not health(board.cells, beat_age_s=beat_age_s, lease_s=30.0).ok


@pytest.mark.unit
@pytest.mark.parametrize(("word", "says"), [(Word.STOPPED, "stopped by a signal"), (Word.FENCED, "given up")])
def test_stopped_or_fenced_worker_is_unwell(board: Board, word: Word, says: str) -> None:
    """The reason names the process."""
    worker(board, 0, pid=11)[word] = 1
    found = health(board.cells, beat_age_s=1.0, lease_s=30.0)
    assert (found.status, len(found.reasons)) == ("unwell", 1)
    assert f"pid 11 {'is' if word is Word.STOPPED else 'was'} {says}" in found.reasons[0]


@pytest.mark.unit
def test_host_without_a_living_worker_is_unwell(board: Board) -> None:
    """A dead worker's cell does not count."""
    worker(board, 0, pid=11, state=CellState.DEAD)
    assert health(board.cells, beat_age_s=1.0, lease_s=30.0).reasons == ("no worker is alive",)


# -- addresses


@pytest.mark.unit
@pytest.mark.parametrize(
    ("text", "host", "port"),
    [(":9000", "", 9000), ("127.0.0.1:0", "127.0.0.1", 0), ("localhost:80", "localhost", 80), ("[::1]:80", "::1", 80)],
)
def test_address(text: str, host: str, port: int) -> None:
    """HOST:PORT, :PORT and [IPV6]:PORT are addresses, and are written back the same."""
    address = parse_address(text)
    assert (address.host, address.port, str(address)) == (host, port, text)


@pytest.mark.unit
@pytest.mark.parametrize("text", ["", "9000", "host", "host:", "host:x", ":65536", "::1:80", ":-1", ":٣"])
def test_bad_address_says_what_to_write(text: str) -> None:
    """One sentence with the forms that work."""
    with pytest.raises(UsageError, match="use HOST:PORT"):
        parse_address(text)


# -- the server


@pytest.fixture
async def server() -> AsyncIterator[Http]:
    """A server on any port."""

    def broken() -> Response:
        raise RuntimeError("a bug")

    pages = {"/metrics": lambda: Response(body=b"up 1\n"), "/broken": broken}
    serving = Http("127.0.0.1:0", pages)
    await serving.open()
    running = asyncio.create_task(serving.run())
    yield serving
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await serving.close()
    await serving.close()


async def ask(server: Http, request: bytes) -> tuple[str, str]:
    """Send bytes; return the status line and the body that came back before the connection was closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    await writer.drain()
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return head.partition("\r\n")[0], body


@pytest.mark.process
@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /metrics HTTP/1.1", "200 OK"),
        ("GET /metrics?x=1 HTTP/1.0", "200 OK"),
        ("HEAD /metrics HTTP/1.1", "200 OK"),
        ("POST /metrics HTTP/1.1", "405 Method Not Allowed"),
        ("GET /else HTTP/1.1", "404 Not Found"),
        ("GET /broken HTTP/1.1", "500 Internal Server Error"),
        ("nonsense", "400 Bad Request"),
    ],
)
async def test_server_answers(server: Http, request_line: str, status: str) -> None:
    """The known pages are answered, everything else is refused in words."""
    line, body = await ask(server, f"{request_line}\r\nHost: x\r\n\r\n".encode())
    assert line == f"HTTP/1.1 {status}"
    if status == "200 OK":
        assert body == ("" if request_line.startswith("HEAD") else "up 1\n")


@pytest.mark.process
async def test_server_refuses_an_endless_request(server: Http) -> None:
    """A request's head has a bounded size."""
    line, _ = await ask(
        server, b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * (http.REQUEST_BYTES_MOST // 6 + 1) + b"\r\n"
    )
    assert line == "HTTP/1.1 431 Request Header Fields Too Large"


@pytest.mark.process
async def test_server_hangs_up_on_a_silent_client(server: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that says nothing is not waited for."""
    monkeypatch.setattr(http, "REQUEST_TIMEOUT_S", 0.01)
    assert await ask(server, b"GET /met") == ("", "")


@pytest.mark.process
async def test_server_says_that_an_address_is_taken(server: Http) -> None:
    """Two servers on one port: the second one names the address."""
    second = Http(f"127.0.0.1:{server.port}", {})
    with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{server.port}"):
        await second.open()


@pytest.mark.unit
async def test_close_without_open_is_fine() -> None:
    """Closing what was never opened does nothing."""
    await Http(":0", {}).close()


@pytest.mark.unit
def test_not_allowed_names_what_is() -> None:
    """405 has an Allow header."""
    answer = Http(":0", {"/x": lambda: Response(body=b"")}).answer("PUT", "/x")
    assert answer.status is HTTPStatus.METHOD_NOT_ALLOWED
    assert b"\r\nAllow: GET, HEAD\r\n" in http.encode(answer)
