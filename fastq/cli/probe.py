"""What `fastq check` does, without click: a probe runs every few seconds on every host, and each import is paid for."""

from __future__ import annotations

import os
import socket
from typing import Any, NamedTuple

from fastq.terminal.speech import complain, finish_streams, ready_streams, say

_LOOK = """
select count(*), count(*) filter (where w.expires_at > now()) from fastq.worker w
where w.shard = 0 and w.host = %(host)s
"""


class Probe(NamedTuple):
    """What is to be found out."""

    dsn: str | None = None
    ready: bool = False
    live: bool = False

    def run(self) -> int:
        """Look, say what was found, and return the exit code.

        Raises:
            FastqError: the database cannot be reached, or its schema does not fit.

        """
        from fastq.config import find_dsn
        from fastq.errors import DatabaseUnreachable
        from fastq.postgres import database
        from fastq.protocol.refusal import as_our_errors
        from fastq.schema import migrator
        from fastq.sql.naming import named

        try:
            with database.connect(database.server(find_dsn(self.dsn)), "fastq check") as conn, as_our_errors():
                if not self.live:
                    migrator.check(conn)
                row: Any = conn.execute(named(_LOOK), {"host": socket.gethostname()}).fetchone()
        except DatabaseUnreachable:
            if not self.live:
                raise
            say("the database does not answer, which is not this host's fault")
            return 0
        workers, alive = row
        if self.live:
            return _verdict(not workers or alive > 0, f"{alive} of this host's {workers} workers renew their leases")
        if self.ready:
            return _verdict(alive > 0, f"{alive} workers of this host run")
        return _verdict(well=True, said="the database answers and its schema fits")


def _verdict(well: bool, said: str) -> int:
    say(said)
    return 0 if well else 1


def parse(args: list[str]) -> Probe | None:
    """Return the probe that a command line asks for; None for whatever the full command line has to look at."""
    if args[:1] != ["check"] or any(name.startswith("FASTQ_CHECK_") for name in os.environ):
        return None
    found, rest = Probe(), iter(args[1:])
    for word in rest:
        name, equals, value = word.partition("=")
        if word == "--ready":
            found = found._replace(ready=True)
        elif word == "--live":
            found = found._replace(live=True)
        elif name == "--dsn" and (dsn := value if equals else next(rest, "")):
            found = found._replace(dsn=dsn)
        else:
            return None
    return found


def main(probe: Probe) -> int:
    """Run a probe; its exit code, with one sentence where something is wrong."""
    from fastq.errors import FastqError

    ready_streams()
    try:
        code = probe.run()
        finish_streams()
    except FastqError as exc:
        complain(f"fastq: {exc}")
        return exc.exit_code
    except BrokenPipeError:
        return 141
    return code
