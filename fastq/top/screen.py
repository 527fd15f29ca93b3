"""The screens: queues and workers, and the jobs of a queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

from psycopg import Connection
from textual import work
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Header, Sparkline, Static

from fastq.errors import FastqError
from fastq.insights.redaction import redacted
from fastq.insights.words import short, span
from fastq.protocol import jobs, queues
from fastq.protocol.asking import Request, carry_out_sync
from fastq.protocol.jobs import JobFilter, JobInfo
from fastq.terminal.safe import safe_line
from fastq.top.look import Seen, look

T = TypeVar("T")
Ask = Callable[[Callable[[Connection[Any]], T]], T]
"""Asks the database a question, from any thread, one at a time."""

EVERY_S = 2.0
_JOBS_MOST = 200
_DOES: dict[str, Callable[[int], Request[Any]]] = {"retry": jobs.retry, "cancel": jobs.cancel, "delete": jobs.delete}


class Top(App[None]):
    """Queues and workers, fresh every two seconds."""

    TITLE = "fastq top"
    CSS = """
    #tiles { height: 1; }
    #rates { height: 2; margin: 0 1; }
    #queues { height: 2fr; }
    #workers { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("q", "quit", "Quit"),
        ("p", "pause", "Pause/resume"),
        ("j", "jobs('')", "Jobs"),
        ("r", "jobs('running')", "Running"),
        ("f", "jobs('failed')", "Failed"),
    ]

    def __init__(self, ask: Ask[Any]) -> None:
        super().__init__()
        self._ask = ask

    def compose(self) -> ComposeResult:
        """Lay it out."""
        yield Header()
        yield Static(id="tiles", markup=False)
        yield Sparkline([], id="rates")
        yield DataTable(id="queues", cursor_type="row")
        yield DataTable(id="workers", cursor_type="none")
        yield Footer()

    def on_mount(self) -> None:
        """Make the columns, and look from now on."""
        self.query_one("#queues", DataTable).add_columns("queue", "", "ready", "running", "later", "failed", "oldest")
        self.query_one("#workers", DataTable).add_columns(
            "worker", "host", "pid", "state", "since", "running", "succeeded", "failed", "memory", "lease"
        )
        self.query_one("#queues", DataTable).focus()
        self.look_again()
        self.set_interval(EVERY_S, self.look_again)

    @work(thread=True, exclusive=True)
    def look_again(self) -> None:
        """Ask, and show what comes."""
        try:
            seen = self._ask(look)
        except FastqError as exc:
            self.call_from_thread(self._tell, str(exc))
        else:
            self.call_from_thread(self._show, seen)

    def _tell(self, text: str) -> None:
        self.query_one("#tiles", Static).update(safe_line(text))

    def _show(self, seen: Seen) -> None:
        self._tell(
            f"ready {short(seen.ready)}  running {short(seen.running)}  failed {short(seen.failed)}"
            f"  workers {len(seen.workers)}  leader {seen.leader or 'none'}"
        )
        self.query_one("#rates", Sparkline).data = list(seen.rates)
        rows = [
            (
                safe_line(q.name),
                "paused" if q.paused else "",
                *map(short, (q.ready.jobs, q.running.jobs)),
                short(q.scheduled.jobs + q.retrying.jobs + q.waiting.jobs),
                short(q.failed.jobs),
                span(q.oldest_s),
            )
            for q in seen.queues
        ]
        _fill(self.query_one("#queues", DataTable), rows, [q.name for q in seen.queues])
        _fill(self.query_one("#workers", DataTable), [_worker_row(w) for w in seen.workers])

    # -- keys

    @property
    def _queue(self) -> str | None:
        """The queue that the cursor is on."""
        return _under_cursor(self.query_one("#queues", DataTable))

    def action_pause(self) -> None:
        """Pause the queue under the cursor, or resume it."""
        if (queue := self._queue) is not None:
            self._steer(queue)

    @work(thread=True)
    def _steer(self, queue: str) -> None:
        def change(conn: Connection[Any]) -> None:
            if not queues.pause(conn, queue):
                queues.resume(conn, queue)

        try:
            self._ask(change)
        except FastqError as exc:
            self.call_from_thread(self._tell, str(exc))
        self.call_from_thread(self.look_again)

    def action_jobs(self, state: str) -> None:
        """Show the jobs of the queue under the cursor."""
        self.push_screen(Jobs(self._ask, JobFilter(states=jobs.states_of(state or None), queue=self._queue)))

    def on_data_table_row_selected(self) -> None:
        """Enter does the same as j."""
        if self.screen is self.screen_stack[0]:
            self.action_jobs("")


class Jobs(Screen[None]):
    """Jobs of a queue."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "app.pop_screen", "Back"),
        ("r", "do('retry')", "Retry"),
        ("c", "do('cancel')", "Cancel"),
        ("d", "do('delete')", "Delete"),
    ]
    CSS = "#said { height: auto; max-height: 8; }"

    def __init__(self, ask: Ask[Any], wanted: JobFilter) -> None:
        super().__init__()
        self._ask = ask
        self._wanted = wanted
        self._found: dict[str, JobInfo] = {}

    def compose(self) -> ComposeResult:
        """Lay it out."""
        yield Header()
        yield DataTable(id="jobs", cursor_type="row")
        yield Static(id="said", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Make the columns and look."""
        self.query_one("#jobs", DataTable).add_columns("id", "state", "task", "attempt", "arguments or error")
        self.query_one("#jobs", DataTable).focus()
        self.look_again()

    @work(thread=True, exclusive=True)
    def look_again(self, said: str = "") -> None:
        """Ask for the jobs."""
        try:
            found = self._ask(self._look)
        except FastqError as exc:
            self.app.call_from_thread(self.query_one("#said", Static).update, safe_line(str(exc)))
        else:
            self.app.call_from_thread(self._show, found, said)

    def _look(self, conn: Connection[Any]) -> list[JobInfo]:
        return redacted(conn, carry_out_sync(conn, jobs.survey(self._wanted, _JOBS_MOST)))

    def _show(self, found: list[JobInfo], said: str) -> None:
        self._found = {str(job.id): job for job in found}
        rows = [(str(job.id), _state(job), safe_line(job.task), str(job.attempt), _last_word(job)) for job in found]
        _fill(self.query_one("#jobs", DataTable), rows, list(self._found))
        self.query_one("#said", Static).update(said)

    def on_data_table_row_highlighted(self) -> None:
        """Show all of the last error of the job under the cursor."""
        job = self._found.get(_under_cursor(self.query_one("#jobs", DataTable)) or "")
        if job is not None and job.note:
            self.query_one("#said", Static).update(safe_line(job.note))
        elif job is not None and job.errors:
            lines = str(job.errors[-1].get("traceback", "")).splitlines()[-8:]
            self.query_one("#said", Static).update("\n".join(map(safe_line, lines)))

    @work(thread=True)
    def action_do(self, what: str) -> None:
        """Retry, cancel or delete the job under the cursor."""
        job = _under_cursor(self.query_one("#jobs", DataTable))
        if job is None:
            return
        try:
            done = self._ask(partial(_carry_out, _DOES[what](int(job))))
            said = f"{what} {job}: {'done' if done else 'it is not there any more, or cannot be'}"
        except FastqError as exc:
            said = str(exc)
        self.app.call_from_thread(self.look_again, safe_line(said))


def _carry_out(request: Request[T], conn: Connection[Any]) -> T:
    return carry_out_sync(conn, request)


def _fill(table: DataTable[str], rows: Sequence[tuple[str, ...]], keys: list[str] | None = None) -> None:
    """Show rows; the cursor stays where it was."""
    row, before = table.cursor_row, _under_cursor(table)
    table.clear()
    for place, cells in enumerate(rows):
        table.add_row(*cells, key=keys[place] if keys else None)
    if keys and rows:
        table.move_cursor(row=keys.index(before) if before in keys else min(row, len(rows) - 1))


def _under_cursor(table: DataTable[str]) -> str | None:
    """Return the key of the row that the cursor is on."""
    if not table.row_count:
        return None
    return table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value


def _worker_row(worker: Any) -> tuple[str, ...]:
    counted = worker.counters or {}
    return (
        str(worker.id),
        safe_line(worker.host),
        str(worker.pid),
        safe_line(str(counted.get("state", "-"))),
        span(worker.age_s),
        *(str(counted.get(name, "-")) for name in ("running", "succeeded", "failed")),
        _megabytes(counted.get("memory_bytes")),
        span(worker.left_s) if worker.left_s > 0 else "expired",
    )


def _megabytes(size: object) -> str:
    return f"{size / 2**20:.0f} MB" if isinstance(size, int) else "-"


def _state(job: JobInfo) -> str:
    return job.state if job.progress is None else f"{job.state} {job.progress:.0%}"


def _last_word(job: JobInfo) -> str:
    if job.errors:
        return safe_line(f"{job.errors[-1].get('type')}: {job.errors[-1].get('message')}")[:100]
    return safe_line(str(job.args))[:100]
