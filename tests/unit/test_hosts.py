"""Which of a DSN's hosts is tried first, and which others are asked."""

from __future__ import annotations

from itertools import islice
from math import inf
from types import SimpleNamespace
from typing import Any

from psycopg import conninfo

from fastq.postgres.hosts import LATER_S, LOOK_S, Hosts, elsewhere, pauses


def hosts(dsn: str) -> Hosts:
    """Return those of a DSN."""
    return Hosts(conninfo.conninfo_to_dict(dsn))


def to(host: str, port: int) -> Any:
    """Return what looks like a connection to a host."""
    return SimpleNamespace(info=SimpleNamespace(host=host, port=port))


def test_one_host() -> None:
    """It is given all the time there is, and nobody else is asked."""
    for dsn in ("host=only dbname=x", "dbname=x", "postgresql:///x"):
        found = hosts(dsn)
        assert found.in_turn(quickly=True) == found.in_turn(quickly=False) == conninfo.conninfo_to_dict(dsn)
        assert elsewhere(found, to("only", 5432)) is None


def test_the_last_one_is_the_first_one() -> None:
    """Whoever was let in somewhere begins there the next time, and asks the others if it gets no answer."""
    dsn = "postgresql://u@first-a:1,first-b:2,first-c:3/x"
    found = hosts(dsn)
    assert found.in_turn(quickly=False)["host"] == "first-a,first-b,first-c"
    mine = elsewhere(found, to("first-b", 2))
    assert mine is not None
    assert not mine.left
    quick = hosts(dsn).in_turn(quickly=True)
    assert (quick["host"], quick["port"], quick["connect_timeout"]) == ("first-b,first-c,first-a", "2,3,1", 2)
    assert "connect_timeout" not in found.in_turn(quickly=False)
    assert (mine.ask["host"], mine.ask["port"]) == ("first-a,first-c", "1,3")
    assert mine.ask["target_session_attrs"] == "read-write"
    assert mine.found(to("first-c", 3)) == "first-c:3"
    assert mine.left
    assert hosts(dsn).in_turn(quickly=False)["host"] == "first-c,first-a,first-b"
    assert elsewhere(hosts(dsn), to("first-b", 2)) is not None
    assert not mine.left


def test_one_port_for_all_hosts_and_addresses() -> None:
    """As libpq takes them."""
    found = hosts("host=port-a,port-b port=7")
    assert found.let_in(to("port-b", 7)) == 1
    assert found.in_turn(quickly=False)["port"] == "7,7"
    found = hosts("hostaddr=10.0.0.1,10.0.0.2")
    assert found.let_in(to("10.0.0.2", 5432)) == 1
    assert found.others(1) == {"hostaddr": "10.0.0.1", "connect_timeout": 2, "target_session_attrs": "read-write"}


def test_what_does_not_fit_is_left_to_libpq() -> None:
    """Two ports for three hosts."""
    dsn = "host=a,b,c port=1,2"
    assert hosts(dsn).in_turn(quickly=True) == conninfo.conninfo_to_dict(dsn)


def test_a_silent_one() -> None:
    """It is known to be silent until somebody is let in somewhere; the others can be asked without it."""
    found = hosts("host=mute-a,mute-b,mute-c port=1,2,3 target_session_attrs=primary")
    assert not found.silent
    found.let_in(to("mute-b", 2))
    found.note_silence()
    assert hosts("host=mute-a,mute-b,mute-c port=1,2,3 target_session_attrs=primary").silent
    others = found.but_first()
    assert (others["host"], others["port"], others["connect_timeout"]) == ("mute-a,mute-c", "1,3", 2)
    assert others["target_session_attrs"] == "primary"
    found.let_in(to("mute-b", 2))
    assert not found.silent


def test_who_wants_a_standby_asks_for_no_primary() -> None:
    """It is content where it is."""
    assert elsewhere(hosts("host=s-a,s-b target_session_attrs=standby"), to("s-a", 5432)) is None


def test_pauses() -> None:
    """Short as long as somebody has to answer in time; for those who would wait for ever longer and longer ones."""
    assert all(LOOK_S / 2 <= pause <= LOOK_S for pause in islice(pauses(30.0), 50))
    longer = list(islice(pauses(inf), 50))
    assert longer[0] <= LOOK_S
    assert all(LATER_S / 2 <= pause <= LATER_S for pause in longer[20:])
