"""What each session of ours sets for itself, whatever the database, the role or the environment say. Texts only.

Our statements are written for these values. A session without a pooler gets them once, with its first statement
(`greet_server`); through a pooler, where sessions change hands, each transaction sets what it needs of them. A caller's
connection keeps its own: what runs there works with any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ENCODING = "UTF8"
"""Of the client: JSON is. libpq says it when it connects, which poolers understand. Of the database, too."""


_ISOLATION = "default_transaction_isolation"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, and why it must have this value.

    `governs`: it is about transactions as such. One that a handler gets from `ctx.transaction()` has the value that the
    database or the role was given.
    """

    name: str
    value: str
    why: str
    governs: bool = False


SETTINGS = (
    Setting("DateStyle", "ISO", "times are read as ISO text"),
    Setting("extra_float_digits", "1", "numbers are read as text; fewer digits would round rates and times"),
    Setting("array_nulls", "on", "parameters are arrays, with nulls in them"),
    Setting(
        _ISOLATION,
        "read committed",
        "claims skip what others hold; in a snapshot of their own they would fail instead",
        governs=True,
    ),
    Setting("statement_timeout", "0", "a statement has its own bound: 30 s without an answer", governs=True),
    Setting("lock_timeout", "0", "the same; those that must not wait set their own", governs=True),
    Setting("idle_in_transaction_session_timeout", "0", "a claim must not fail halfway on a slow host", governs=True),
    Setting("transaction_timeout", "0", "`enqueue_many` takes as long as its iterable", governs=True),
    Setting("idle_session_timeout", "0", "workers wait for jobs; producers close idle connections themselves"),
)
_OURS = {setting.name: setting.value for setting in SETTINGS}
_TIMEOUTS = {setting.name for setting in SETTINGS if setting.governs and setting.name != _ISOLATION}


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a session needs beside its greeting: texts of statements, empty where everything is as we need it.

    Attributes:
        pooled: a pooler is in between, which may run each transaction in another session: none keeps any state.
        transaction: what a transaction of ours begins with.
        begin: what a handler's transaction begins with, before any query.
        handover: what comes between our statements and the handler's.
        takeover: what comes between the handler's statements and ours.

    """

    pooled: bool = False
    transaction: str = ""
    begin: str = ""
    handover: str = ""
    takeover: str = ""


def greeting(pid: int) -> dict[str, object]:
    """Return the parameters of `greet_server`; `pid` is the process that answered the login."""
    return {"pid": pid, "names": list(_OURS), "values": list(_OURS.values())}


def session(*, pooled: bool, theirs: Mapping[str, str]) -> Session:
    """Return what a session needs that had settings otherwise than we need them: `theirs` are their values."""
    local = {name: _OURS[name] for name in theirs if name != _ISOLATION}
    timeouts = [name for name in theirs if name in _TIMEOUTS]
    odd = theirs.get(_ISOLATION)
    return Session(
        pooled=pooled,
        transaction=_statements(local, odd and _OURS[_ISOLATION]) if pooled else "",
        begin=_statements(local) if pooled else _statements({}, odd),
        handover=_statements({name: theirs[name] for name in timeouts}),
        takeover=_statements({name: _OURS[name] for name in timeouts}),
    )


def _statements(local: Mapping[str, str], isolation: str | None = None) -> str:
    """Return the statements that give settings these values until the end of the transaction."""
    first = [f"set transaction isolation level {isolation}"] if isolation else []
    return "; ".join([*first, *(f"set local {name} = '{value}'" for name, value in local.items())])
