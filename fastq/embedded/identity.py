"""Which user runs initdb and postgres: ourselves, or, since both refuse root, somebody without privileges."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from fastq.errors import EmbeddedError

FALLBACK_USERS = ("postgres", "fastq", "nobody")


class PopenUser(TypedDict, total=False):
    """The keywords of subprocess.Popen that change the user; no su, runuser or gosu is needed."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """A user the server can run as."""

    uid: int
    gid: int

    @property
    def name(self) -> str:
        """The user's name, or its number when it has none."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"uid {self.uid}"

    @property
    def differs(self) -> bool:
        """Whether the server runs as somebody else than this process."""
        return self.uid != os.geteuid()

    @property
    def popen(self) -> PopenUser:
        """Keywords for Popen."""
        return PopenUser(user=self.uid, group=self.gid, extra_groups=[]) if self.differs else PopenUser()

    def can_reach(self, path: Path) -> bool:
        """Say whether `path` can be entered or executed, judged by the mode bits for others if `differs`."""
        return not self.differs or all(p.stat().st_mode & 0o001 for p in (path, *path.parents))

    def require_passwd_entry(self) -> None:
        """Raise if initdb would fail for want of a user name (containers with a random uid)."""
        try:
            pwd.getpwuid(self.uid)
        except KeyError:
            raise EmbeddedError(
                f"uid {self.uid} has no entry in /etc/passwd and initdb needs one: use a user with a name, "
                "or set FASTQ_DSN to a PostgreSQL server"
            ) from None


def identity_for(data: Path | None) -> Identity:
    """Return who runs the server on `data` (None: it will be created)."""
    if os.geteuid() != 0:
        if data is not None and (owner := data.stat().st_uid) != os.geteuid():
            raise EmbeddedError(
                f"{data} belongs to {Identity(uid=owner, gid=0).name}: set FASTQ_HOME to a directory of yours"
            )
        return Identity(uid=os.geteuid(), gid=os.getegid())
    if data is not None and (info := data.stat()).st_uid != 0:
        # The owner stays, even if a better user has appeared since: postgres refuses what belongs to another.
        return Identity(uid=info.st_uid, gid=info.st_gid)
    return unprivileged()


def unprivileged() -> Identity:
    """Return the user that serves root: $FASTQ_PG_USER, else the first that exists of FALLBACK_USERS."""
    asked = os.environ.get("FASTQ_PG_USER")
    for name in (asked,) if asked else FALLBACK_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Identity(uid=entry.pw_uid, gid=entry.pw_gid)
    problem = f"FASTQ_PG_USER={asked} does not name one" if asked else "there is none of " + ", ".join(FALLBACK_USERS)
    raise EmbeddedError(
        f"PostgreSQL refuses to run as root and needs an ordinary user, but {problem}: set FASTQ_PG_USER"
    )
