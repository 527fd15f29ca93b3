"""`fastq doctor`: what is wrong with the database, the settings and the fleet, why it matters, and what to type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fastq.cli.options import dsn_option, json_option
from fastq.terminal.safe import safe_line
from fastq.terminal.speech import answer, say

if TYPE_CHECKING:
    from fastq.insights.doctor import Finding

_MARKS = {"error": "✗", "warning": "!", "note": "·"}


@click.command()
@dsn_option
@json_option
def doctor(dsn: str | None, json: bool) -> int:
    """Look at the database, the settings and the fleet; say what is wrong, why it matters and what to type.

    docs/doctor.md explains each code.

    \b
    exit: 0 nothing is wrong (there may be notes), 1 something is, 3 database unreachable
    """
    found = _examine(dsn)
    if json:
        from dataclasses import asdict

        from fastq import codec

        answer(codec.dumps({"findings": [asdict(finding) for finding in found]}))
    else:
        _tell(found)
    return int(any(finding.level != "note" for finding in found))


def _examine(dsn: str | None) -> list[Finding]:
    from fastq.config import find_dsn
    from fastq.errors import SchemaError
    from fastq.insights import facts
    from fastq.insights.doctor import Finding, Level, diagnose
    from fastq.postgres import database
    from fastq.protocol.refusal import as_our_errors
    from fastq.schema import migrator

    with database.connect(database.reachable(find_dsn(dsn)), "fastq doctor") as conn:
        try:
            migrator.check(conn)
        except SchemaError as exc:
            why = "neither producers nor workers start"
            return [Finding("F100", Level.ERROR, str(exc), why, "fastq migrate")]
        with as_our_errors(), database.as_ours_sync(conn):
            return diagnose(facts.look(conn))


def _tell(found: list[Finding]) -> None:
    if not found:
        say("Nothing is wrong.")
    for finding in found:
        say(f"{_MARKS[finding.level]} {finding.code} {safe_line(finding.what)}")
        say(f"    why   {safe_line(finding.why)}")
        say(f"    type  {safe_line(finding.do)}")
