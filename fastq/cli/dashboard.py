"""`fastq dashboard`: serves the page."""

from __future__ import annotations

import click

from fastq.cli.options import dsn_option
from fastq.terminal.speech import say

_LOCAL = ("127.0.0.1", "::1", "localhost")


@click.command()
@dsn_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="The port; 0 is any.")
@click.option("--token", help="Let in whoever shows this token. Without one it listens on this host alone.")
@click.option("--read-only", is_flag=True, help="Let nobody change anything.")
@click.option("--redact", multiple=True, metavar="NAME", help="Do not show the argument with this name. Repeatable.")
@click.option("--prefix", default="", metavar="PATH", help="The path at which a proxy serves it.")
def dashboard(
    dsn: str | None, host: str, port: int, token: str | None, read_only: bool, redact: tuple[str, ...], prefix: str
) -> None:
    """Serve a page to see and steer jobs, queues, schedules and workers.

    Needs the extra fastq-pg[dashboard]. To put it into an application of your own: docs/dashboard.md.
    """
    from fastq.errors import UsageError

    if host not in _LOCAL and not token:
        raise UsageError(f"on {host} others could reach it: give --token, or listen on 127.0.0.1")
    try:
        import uvicorn

        from fastq.dashboard import asgi
    except ImportError as exc:
        raise UsageError(f"{exc.name} is missing: pip install 'fastq-pg[dashboard]'") from None
    site = asgi(dsn, token=token, read_only=read_only, redact=redact, hosts=() if token else _LOCAL)
    name = f"[{host}]" if ":" in host else host
    say(f"http://{name}:{port}{prefix.rstrip('/')}/" if port else "on a free port:")
    uvicorn.run(
        site,
        host=host,
        port=port,
        root_path=prefix.rstrip("/"),
        log_level="warning" if port else "info",
        access_log=False,
        timeout_graceful_shutdown=1,  # whoever looks at a page has a stream open
    )
