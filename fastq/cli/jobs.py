"""`fastq jobs`: list jobs, show one with its errors, retry, cancel and delete them by id or by what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from fastq.cli.job_view import as_dict, describe, job_table
from fastq.cli.options import dsn_option, json_option
from fastq.cli.steering import steering, sure, write
from fastq.cli.values import Name, Text
from fastq.states import JobState
from fastq.terminal.speech import complain, say
from fastq.terminal.table import display

if TYPE_CHECKING:
    from psycopg import Connection

    from fastq.protocol.jobs import JobFilter

_STATES = click.Choice([state.value for state in JobState])
LIMIT_MOST = 1_000_000_000
_IDS = click.argument("ids", metavar="[ID]…", nargs=-1, type=click.IntRange(1, 2**63 - 1))


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --state, --queue, --task and --error."""
    for option in (
        click.option(
            "--error",
            type=Text(),
            help="Jobs with this text in the type, message or traceback of an error.",
        ),
        click.option("--task", type=Name(), help="Jobs of the task with this full name."),
        click.option("--queue", type=Name(), help="Jobs of this queue."),
        click.option("--state", type=_STATES, multiple=True, help="Jobs in this state; can be given more than once."),
    ):
        command = option(command)
    return command


def steering_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what a command needs that changes jobs: ids, a filter or --all, --limit, --yes."""
    for option in (
        json_option,
        dsn_option,
        click.option("--yes", is_flag=True, help="Do not ask for confirmation."),
        click.option("--limit", type=click.IntRange(1, LIMIT_MOST), help="At most this many."),
        click.option("--all", is_flag=True, help="All jobs for which it is possible."),
        filter_options,
        _IDS,
    ):
        command = option(command)
    return command


@click.group()
def jobs() -> None:
    """Look at jobs; retry, cancel and delete them."""


@jobs.command("list")
@filter_options
@click.option("--limit", type=click.IntRange(1, LIMIT_MOST), default=50, show_default=True, help="At most this many.")
@dsn_option
@json_option
def list_(limit: int, dsn: str | None, json: bool, **options: Any) -> None:
    """List jobs: those that run, are ready, wait for a time, and are kept, the last first.

    \b
      fastq jobs list --state failed --queue mail
      fastq jobs list --state failed --error TimeoutError --json | jq '.jobs[].args'
    """
    from fastq.insights.redaction import redacted
    from fastq.protocol.asking import carry_out_sync
    from fastq.protocol.jobs import survey

    with steering(dsn, "jobs list") as conn:
        seen = carry_out_sync(conn, survey(_wanted(options), limit + 1))
        found = redacted(conn, seen)
    shown, more = found[:limit], len(found) > limit
    if json:
        write({"jobs": [as_dict(job) for job in shown], "more": more})
        return
    display(job_table(shown) if shown else "No such jobs.")
    if more:
        say(f"\nThere are more than {limit}: --limit shows more, `fastq status` counts them.", err=True)


@jobs.command()
@click.argument("id", type=click.IntRange(1, 2**63 - 1))
@dsn_option
@json_option
def show(id: int, dsn: str | None, json: bool) -> None:  # noqa: A002 - as it is typed
    """Show all that is known of a job: its state, arguments, times, errors and last traceback.

    \b
    exit: 0, 1 there is no such job (any more)
    """
    from fastq.errors import FastqError
    from fastq.insights.redaction import redacted
    from fastq.protocol.asking import carry_out_sync
    from fastq.protocol.jobs import find

    with steering(dsn, "jobs show") as conn:
        job = carry_out_sync(conn, find(id))
        if job is not None:
            (job,) = redacted(conn, [job])
    if job is None:
        raise FastqError(f"there is no job {id}: it succeeded and was not kept, or was deleted, or never was")
    write(as_dict(job)) if json else say(describe(job))


@jobs.command()
@steering_options
def retry(ids: tuple[int, ...], **options: Any) -> int:
    """Put jobs that failed, were discarded or cancelled, or expired back into their queues, with all their attempts.

    \b
      fastq jobs retry 1234 1235
      fastq jobs retry --task mail.send --error TimeoutError --limit 10     first ten, then the rest

    \b
    exit: 0, 1 a job given by its id could not be retried
    """
    from fastq.protocol.asking import carry_out_sync
    from fastq.protocol.jobs import retry, retry_many

    with steering(options["dsn"], "jobs retry") as conn:
        if ids:
            return _each(
                conn, "retried", ids, lambda job: "retried" if carry_out_sync(conn, retry(job)) else None, options
            )
        request = retry_many(_wanted(options, acting=True), options["limit"])
        if options["all"]:
            sure("Retry all failed, discarded, cancelled and expired jobs?", "nothing was retried", yes=options["yes"])
        _report({"retried": carry_out_sync(conn, request)}, options["json"])
    return 0


@jobs.command()
@steering_options
def cancel(ids: tuple[int, ...], **options: Any) -> int:
    """Cancel jobs: those that wait at once, those that run by asking their worker. They are kept as cancelled.

    \b
      fastq jobs cancel 1234
      fastq jobs cancel --queue mail --state ready --yes

    \b
    exit: 0, 1 a job given by its id had ended
    """
    from fastq.protocol.asking import carry_out_sync
    from fastq.protocol.jobs import cancel, cancel_many

    with steering(options["dsn"], "jobs cancel") as conn:
        if ids:
            return _each(conn, "cancelled", ids, lambda job: carry_out_sync(conn, cancel(job)), options)
        request = cancel_many(_wanted(options, acting=True), options["limit"])
        sure(f"Cancel {_meant(options)} that wait or run?", "nothing was cancelled", yes=options["yes"])
        _report(carry_out_sync(conn, request)._asdict(), options["json"])
    return 0


@jobs.command()
@steering_options
def delete(ids: tuple[int, ...], **options: Any) -> int:
    """Delete jobs that are not running. Nothing is kept of them.

    \b
      fastq jobs delete 1234
      fastq jobs delete --state failed --task mail.send --yes

    \b
    exit: 0, 1 a job given by its id runs, or was gone
    """
    from fastq.errors import FastqError
    from fastq.protocol.asking import carry_out_sync
    from fastq.protocol.jobs import delete, delete_many

    def one(job: int) -> str | None:
        try:
            return "deleted" if carry_out_sync(conn, delete(job)) else None
        except FastqError:
            return None

    with steering(options["dsn"], "jobs delete") as conn:
        if ids:
            return _each(conn, "deleted", ids, one, options)
        request = delete_many(_wanted(options, acting=True), options["limit"])
        sure(f"Delete {_meant(options)} that do not run?", "nothing was deleted", yes=options["yes"])
        _report({"deleted": carry_out_sync(conn, request)}, options["json"])
    return 0


def _wanted(options: dict[str, Any], *, acting: bool = False) -> JobFilter:
    """Return the filter that the options give; who wants to act on jobs must give one, or --all."""
    from fastq.errors import UsageError
    from fastq.protocol.jobs import JobFilter

    states = tuple(JobState(state) for state in options["state"])
    wanted = JobFilter(states=states, queue=options["queue"], task=options["task"], error=options["error"])
    if acting and bool(wanted) == options["all"]:
        raise UsageError("say which jobs: their ids, or --state, --queue, --task, --error, or --all")
    return wanted


def _meant(options: dict[str, Any]) -> str:
    parts = [f"--{name} {value}" for name in ("queue", "task", "error") if (value := options[name]) is not None]
    parts = [*(f"--state {state}" for state in options["state"]), *parts]
    most = "" if options["limit"] is None else f"at most {options['limit']:,} of "
    return f"{most}all jobs" + (f" with {' '.join(parts)}" if parts else "")


def _each(
    conn: Connection[Any],
    done: str,
    ids: tuple[int, ...],
    act: Callable[[int], str | None],
    options: dict[str, Any],
) -> int:
    """Act on jobs one by one; say what became of each, and why nothing could be done."""
    from psycopg.errors import UniqueViolation

    from fastq.errors import UsageError
    from fastq.protocol.asking import carry_out_sync
    from fastq.protocol.jobs import find

    if options["all"] or any(options[name] for name in ("state", "queue", "task", "error", "limit")):
        raise UsageError("give ids, or a filter, not both")
    told: list[dict[str, Any]] = []
    for job in dict.fromkeys(ids):
        outcome, refused = None, None
        try:
            outcome = act(job)
        except UniqueViolation as exc:  # another job holds its unique key
            refused = exc.diag.message_primary
        known = None if outcome else carry_out_sync(conn, find(job))
        told.append({"id": job, "outcome": outcome, "state": None if known is None else known.state})
        if refused:
            told[-1]["refused"] = refused
    failed = [one for one in told if one["outcome"] is None]
    if options["json"]:
        write({done: len(told) - len(failed), "jobs": told})
        return 1 if failed else 0
    for one in told:
        if one["outcome"]:
            say(f"{one['outcome']} job {one['id']}")
        else:
            why = f"it is {one['state']}" if one["state"] else "it is gone"
            complain(one.get("refused") or f"job {one['id']} was not {done}: {why}")
    return 1 if failed else 0


def _report(counts: dict[str, int], json: bool) -> None:
    if json:
        write(counts)
        return
    first, *others = counts.items()
    more = [f", {count:,} {name}" for name, count in others if count]
    say(f"{first[0]} {first[1]:,} job{'s' * (first[1] != 1)}{''.join(more)}")
