"""Two servers that Patroni looks after, with an etcd of their own, on loopback: made, hurt, mended, ended."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from fastq.embedded import binaries, identity
from fastq.embedded.cluster import environment
from fastq.errors import EmbeddedError

PATIENCE_S = 120.0
SETTINGS = {
    "max_connections": "100",
    "shared_buffers": "128MB",
    "dynamic_shared_memory_type": "mmap",
    "timezone": "UTC",
}
LEAST_TTL_S, LOOP_WAIT_S, RETRY_TIMEOUT_S = 20, 2, 5

FAULTS = {
    "switchover": "patronictl switchover",
    "kill": "kill -9 of the leader's postmaster; its Patroni lives",
    "crash": "kill -9 of the leader's Patroni and postmaster",
    "freeze": "SIGSTOP of the leader's Patroni and of all processes of its PostgreSQL",
}


class Programs:
    """Where the programs of others are, and who runs them."""

    def __init__(self, patroni: str | None, etcd: str | None, server: Path | None) -> None:
        self.who = identity.identity_for(None)
        self.patroni = _program(patroni or "patroni", "pip install 'patroni[etcd3]' psycopg", "--patroni")
        self.ctl = _program(str(Path(self.patroni).with_name("patronictl")), "it comes with patroni", "--patroni")
        self.etcd = _program(etcd or "etcd", "Debian: apt-get install etcd-server", "--etcd")
        try:
            self.server = server or binaries.find(major=None, identity=self.who).directory
        except EmbeddedError as exc:
            sys.exit(f"{exc}; or --server-bin")
        for name in ("postgres", "initdb", "pg_basebackup", "pg_rewind"):
            _program(str(self.server / name), "a PostgreSQL server's programs are wanted", "--server-bin")

    def versions(self) -> dict[str, object]:
        """Return which Patroni and which etcd this is."""
        return {
            name: binaries.output_of(path, "--version").partition("\n")[0].split()[-1]
            for name, path in (("patroni", self.patroni), ("etcd", self.etcd))
        }

    def start(self, log: Path, *command: str) -> subprocess.Popen[bytes]:
        """Start one of them as the user that PostgreSQL runs as, who is not root."""
        how = {"env": environment(), "cwd": "/", "stdin": subprocess.DEVNULL, **self.who.popen}
        with log.open("ab") as out:
            try:
                return subprocess.Popen(command, stdout=out, stderr=out, **how)
            except PermissionError:
                sys.exit(f"user {self.who.name} may not run {command[0]}, or the Python that it names")


def _program(name: str, how: str, option: str) -> str:
    found = shutil.which(name)
    if found is None:
        sys.exit(f"there is no {name}: {how}, or say where it is with {option}")
    return str(Path(found).absolute())


def free_port() -> int:
    """Return a TCP port that nobody listens on right now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def until(what: str, check: Callable[[], Any]) -> None:
    """Wait until `check()` holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE_S:.0f} s for {what}")
        time.sleep(0.05)


class Node:
    """One server and the Patroni that looks after it."""

    def __init__(self, name: str, folder: Path, programs: Programs, cluster: Cluster) -> None:
        self.name, self.data = name, folder / name
        self.port, self.rest = free_port(), free_port()
        self.config, self.log = folder / f"{name}.yml", folder / f"{name}.log"
        self._programs, self._secret = programs, cluster.secret
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen: list[int] = []
        self.config.write_text(json.dumps(self._settings(folder, cluster), indent=1))  # which is YAML, too

    def dsn(self, database: str = "postgres") -> str:
        """Return the conninfo of the superuser."""
        return (
            f"host=127.0.0.1 port={self.port} user=postgres password={self._secret} dbname={database} connect_timeout=2"
        )

    def _settings(self, folder: Path, cluster: Cluster) -> dict[str, Any]:
        rest, listen = f"127.0.0.1:{self.rest}", f"127.0.0.1:{self.port}"
        users = {"superuser": "postgres", "replication": "replicator", "rewind": "rewinder"}
        shared = {"use_pg_rewind": True, "parameters": SETTINGS}
        return {
            "scope": "fastq",
            "name": self.name,
            "restapi": {"listen": rest, "connect_address": rest},
            "etcd3": {"host": f"127.0.0.1:{cluster.etcd}"},
            "bootstrap": {
                "dcs": {**cluster.settings, "postgresql": shared},
                "initdb": ["data-checksums", "no-locale", {"encoding": "UTF8"}],
            },
            "postgresql": {
                "listen": listen,
                "connect_address": listen,
                "data_dir": str(self.data),
                "bin_dir": str(self._programs.server),
                "pgpass": str(folder / f"{self.name}.pgpass"),
                "authentication": {what: {"username": user, "password": self._secret} for what, user in users.items()},
                "pg_hba": [f"host {what} all 127.0.0.1/32 scram-sha-256" for what in ("all", "replication")],
                "parameters": {"unix_socket_directories": ""},
            },
        }

    def start(self) -> None:
        """Start its Patroni, which starts the server."""
        self._process = self._programs.start(self.log, self._programs.patroni, str(self.config))

    @property
    def leads(self) -> bool:
        """Whether its Patroni says that it is the leader."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.rest}/primary", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    @property
    def is_followed(self) -> bool:
        """Whether its commits wait for a standby that is there."""
        with suppress(psycopg.Error), psycopg.connect(self.dsn()) as conn:
            found = conn.execute("select from pg_stat_replication where sync_state in ('sync', 'quorum')")
            return found.fetchone() is not None
        return False

    def kill(self, *, patroni: bool) -> None:
        """Kill the postmaster, whose children end when they see it, and before that its Patroni if that is wanted."""
        if patroni:
            assert self._process is not None
            self._process.kill()
            self._process.wait()
        os.kill(self._postmaster, signal.SIGKILL)

    def freeze(self) -> None:
        """Stop everything by SIGSTOP, parents first: nothing is started after that."""
        assert self._process is not None
        for pid in (self._process.pid, self._postmaster):
            for one in (pid, *_children(pid, stop=True)):
                if one not in self._frozen:
                    self._frozen.append(one)

    def thaw(self) -> None:
        """Let everything go on."""
        for pid in self._frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._frozen = []

    def close(self) -> None:
        """End it, whatever state it is in. May be called twice."""
        self.thaw()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        with suppress(OSError, ValueError):
            os.kill(self._postmaster, signal.SIGQUIT)
            until("the server to end", lambda: not Path(f"/proc/{self._postmaster}").exists())

    @property
    def _postmaster(self) -> int:
        return int((self.data / "postmaster.pid").read_text("ascii").split()[0])


def _children(pid: int, *, stop: bool) -> list[int]:
    """Return all below a process; `stop` them and it, from the top."""
    if stop:
        os.kill(pid, signal.SIGSTOP)
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (thread / "children").read_text("ascii").split()):
            found += [child, *_children(child, stop=stop)]
    return found


class Cluster:
    """The two of them, one of which leads."""

    def __init__(self, folder: Path, programs: Programs, ttl_s: int) -> None:
        self._folder, self._programs = folder, programs
        self.secret, self.etcd = secrets.token_hex(8), free_port()
        self.settings = {
            "ttl": ttl_s,
            "loop_wait": LOOP_WAIT_S,
            "retry_timeout": RETRY_TIMEOUT_S,
            "synchronous_mode": True,
        }
        self.nodes = [Node(name, folder, programs, self) for name in ("a", "b")]
        self._running: subprocess.Popen[bytes] | None = None
        folder.chmod(0o755)
        os.chown(folder, programs.who.uid, programs.who.gid)
        for node in self.nodes:
            node.config.chmod(0o600)
            os.chown(node.config, programs.who.uid, programs.who.gid)

    @property
    def dsn(self) -> str:
        """Return the DSN of the application, which names both."""
        ports = ",".join(str(node.port) for node in self.nodes)
        return (
            f"host=127.0.0.1,127.0.0.1 port={ports} user=app password={self.secret} dbname=app"
            " target_session_attrs=read-write"
        )

    @property
    def leader(self) -> Node:
        """The one that leads now."""
        until("a leader", lambda: any(node.leads for node in self.nodes))
        return next(node for node in self.nodes if node.leads)

    def other(self, node: Node) -> Node:
        """Return the other one."""
        return next(one for one in self.nodes if one is not node)

    def open(self) -> None:
        """Start it all, with a database `app` whose owner is nobody special."""
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.etcd, free_port()))
        at = ["--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer]
        at += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
        data = str(self._folder / "etcd")
        self._running = self._programs.start(self._folder / "etcd.log", self._programs.etcd, "--data-dir", data, *at)
        first, second = self.nodes
        first.start()
        until("the first node", lambda: first.leads)
        with psycopg.connect(first.dsn(), autocommit=True) as conn:
            conn.execute(f"create role app login password '{self.secret}'".encode())
            conn.execute("create database app owner app")
        second.start()
        self.settle()

    def settle(self) -> None:
        """Wait until one leads and the other one follows it, synchronously."""
        until("a leader with a standby", lambda: self.leader.is_followed)

    def hurt(self, leader: Node, fault: str) -> None:
        """Do to the leader what FAULTS says."""
        if fault == "freeze":
            leader.freeze()
        elif fault == "switchover":
            whom = ["--leader", leader.name, "--candidate", self.other(leader).name]
            command = [self._programs.ctl, "-c", str(leader.config), "switchover", "fastq", *whom, "--force"]
            subprocess.run(command, env=environment(), stdout=subprocess.DEVNULL, check=True)
        else:
            leader.kill(patroni=fault == "crash")

    def mend(self, node: Node, fault: str) -> None:
        """Let the node come back, where its Patroni does not see to that."""
        if fault == "freeze":
            node.thaw()
        elif fault == "crash":
            node.start()

    def close(self) -> None:
        """End everything. May be called twice."""
        for node in self.nodes:
            node.close()
        if self._running is not None:
            self._running.kill()
            self._running.wait()
