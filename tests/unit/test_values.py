"""The parameter types of the command line: queues with weights, durations, sizes, times."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click
import pytest

from fastq.cli.enqueue import Moment
from fastq.cli.main import cli
from fastq.cli.values import Bytes, Milliseconds, Name, Names, Number, Queues, Rate, Seconds, Text

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Queues(), "mail:3,default:1", {"mail": 3, "default": 1}),
        (Queues(), "mail", {"mail": 1}),
        (Queues(), " mail:2 , , a:b:4", {"mail": 2, "a:b": 4}),
        (Queues(), "tenant:x:1", {"tenant:x": 1}),
        (Names(), "mail, default,mail", ("mail", "default")),
        (Names(), "tenant:x", ("tenant:x",)),
        (Seconds(), "90", 90.0),
        (Seconds(), "1.5", 1.5),
        (Seconds(), "250ms", 0.25),
        (Seconds(), "5m", 300.0),
        (Seconds(), " 2h ", 7200.0),
        (Seconds(), "1d", 86400.0),
        (Seconds(), 30.0, 30.0),
        (Bytes(), "1048576", 2**20),
        (Bytes(), "512M", 2**29),
        (Bytes(), "2g", 2**31),
        (Bytes(), "1KiB", 1024),
        (Moment(), "2026-05-01T09:00+02:00", datetime(2026, 5, 1, 7, tzinfo=UTC)),
        (Moment(), "2026-05-01T09:00Z", datetime(2026, 5, 1, 9, tzinfo=UTC)),
    ],
)
def test_text_becomes_a_value(kind: click.ParamType, text: Any, value: object) -> None:
    """What a person types becomes what the program wants."""
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Queues(), "mail:0"),
        (Queues(), ":3"),
        (Queues(), "mail:x"),
        (Queues(), "mail:-1"),
        (Queues(), "mail:"),
        (Queues(), "mail;default"),
        (Queues(), "mail\x1b[31m"),
        (Queues(), "mail,mail:3"),
        (Queues(), "mail:99999999"),
        (Queues(), ""),
        (Queues(), ","),
        (Names(), "mail:3"),
        (Names(), "mail;default"),
        (Names(), " "),
        (Text(), ""),
        (Text(), " "),
        (Name(), ""),
        (Name(), "a\nb"),
        (Name(), "x" * 256),
        (Milliseconds(0, 10), "nan"),
        (Seconds(0.5, 60), "0"),
        (Seconds(0.5, 60), "2m"),
        (Seconds(most=60), "9" * 400),
        (Number(0), "-1"),
        (Number(1, 10), "11"),
        (Rate(), "0/s"),
        (Rate(), "0.001/h"),
        (Bytes(), "0"),
        (Bytes(), "9" * 5000),
        (Seconds(), "-1"),
        (Seconds(), "soon"),
        (Seconds(), "5 m"),
        (Seconds(), ""),
        (Bytes(), "many"),
        (Bytes(), "1.5G"),
        (Moment(), "tomorrow"),
        (Moment(), ""),
    ],
)
def test_nonsense_is_refused(kind: click.ParamType, text: str) -> None:
    """A value that means nothing is a usage error, not a guess."""
    with pytest.raises(click.BadParameter):
        kind.convert(text, None, None)


def test_time_without_an_offset_is_in_this_machines_zone() -> None:
    """The time is aware, and local."""
    moment = Moment().convert("2026-05-01T09:00", None, None)
    assert moment == datetime(2026, 5, 1, 9).astimezone()


def options(command: click.Command = cli, path: str = "") -> Iterator[tuple[str, click.Option]]:
    """Yield (the command as typed, option) for all options of all commands."""
    yield from ((path, param) for param in command.params if isinstance(param, click.Option) and path)
    if isinstance(command, click.Group):
        with click.Context(command) as ctx:
            for name in command.list_commands(ctx):
                inner = command.get_command(ctx, name)
                assert inner is not None
                yield from options(inner, f"{path} {name}".strip())


@pytest.mark.parametrize(
    ("path", "option"), [pytest.param(*found, id=f"{found[0]} {found[1].opts[-1]}") for found in options()]
)
def test_every_option_has_an_environment_twin(path: str, option: click.Option, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is FASTQ_<COMMAND>_<OPTION>, by the name that is typed."""
    typed = max(option.opts, key=len).removeprefix("--").replace("-", "_")
    prefix = f"FASTQ_{path.replace(' ', '_')}".upper()
    for name in [option.envvar] if isinstance(option.envvar, str) else option.envvar or ():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(f"{prefix}_{typed.upper()}", "1")
    with click.Context(cli, auto_envvar_prefix=prefix) as ctx:
        assert option.value_from_envvar(ctx) in ("1", ["1"], True)
    assert option.name == typed


def test_the_dsn_of_the_environment_is_no_option() -> None:
    """FASTQ_DSN comes after the app's own DSN, so it must not look like something typed."""
    assert all(option.envvar is None for _, option in options() if option.name == "dsn")
