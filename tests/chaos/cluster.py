"""PostgreSQL servers of the harness's own, which it may stop, kill and promote: alone, or two that replicate."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from fastq.embedded import binaries, identity
from fastq.embedded.cluster import environment

PATIENCE_S = 60.0
CONNECTIONS = 80
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": str(CONNECTIONS),
    "wal_level": "replica",
    "max_wal_senders": "4",
    "wal_keep_size": "1GB",
    "wal_retrieve_retry_interval": "200ms",
    "max_wal_size": "2GB",
    "shared_buffers": "128MB",
    "dynamic_shared_memory_type": "mmap",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_naptime": "10s",
    "log_line_prefix": "%m [%p] %a ",
    "log_min_messages": "warning",
    "timezone": "UTC",
}


def free_port() -> int:
    """Return a TCP port that nobody listens on right now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Server:
    """One PostgreSQL server in `folder`, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self._who = identity.identity_for(None)
        self._bin = binaries.find(major=None, identity=self._who).directory
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        os.chown(folder, self._who.uid, self._who.gid)

    def dsn(self, user: str, database: str = "chaos") -> str:
        """Return the conninfo of this server."""
        return f"host=127.0.0.1 port={self.port} user={user} password=chaos dbname={database}"

    # -- making it

    def create(self) -> None:
        """Make an empty cluster with the superuser postgres."""
        secret = self.folder / "password"
        secret.write_text("chaos\n")
        os.chown(secret, self._who.uid, self._who.gid)
        options = ["-U", "postgres", "-E", "UTF8", "--no-locale", "--no-instructions", "--auth=password"]
        self._tool("initdb", "-D", str(self.data), f"--pwfile={secret}", *options)
        self._configure()

    def clone(self, primary: Server) -> None:
        """Make a standby of a running server, which waits for it at every durable commit from then on."""
        if self.data.exists():
            shutil.rmtree(self.data)
        # A walreceiver's application_name is what synchronous_standby_names matches.
        source = primary.dsn("postgres", "postgres") + " application_name=standby"
        self._tool("pg_basebackup", "-D", str(self.data), "-R", "-X", "stream", "-c", "fast", "-d", source)
        self._configure()

    def _configure(self) -> None:
        text = "".join(f"{name} = '{value}'\n" for name, value in {**SETTINGS, "port": str(self.port)}.items())
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(text)

    def _tool(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        done = subprocess.run(
            command, env=environment(), cwd="/", capture_output=True, text=True, check=False, **self._who.popen
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr[-2000:]}")

    # -- running it

    def start(self) -> None:
        """Start and wait until it lets people in; again while processes of a killed server still hold its memory."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            self._launch()
            if self._answers(deadline):
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {self.log()}")
            time.sleep(0.1)

    def _launch(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(self.data)],
                env=environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._who.popen,
            )

    def _answers(self, deadline: float) -> bool:
        """Wait until somebody is let in; False when the server has ended instead."""
        assert self._process is not None
        while self._process.poll() is None and time.monotonic() < deadline:
            with suppress(psycopg.OperationalError), self.connect("postgres"):
                return True
            time.sleep(0.02)
        return False

    def connect(self, database: str = "chaos") -> psycopg.Connection[Any]:
        """Open a superuser's connection in autocommit mode."""
        return psycopg.connect(
            self.dsn("postgres", database), autocommit=True, application_name="chaos", connect_timeout=10
        )

    def wait_restarted(self) -> None:
        """Wait until the server, which restarts by itself after a crash of a backend, lets people in."""
        assert self._process is not None
        if not self._answers(time.monotonic() + PATIENCE_S):
            self.start()

    def log(self) -> str:
        """Return the end of what it said."""
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def children(self) -> list[int]:
        """Return the pids of its backends and helpers."""
        assert self._process is not None
        listed = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(pid) for pid in listed.read_text().split()] if listed.exists() else []

    def stop(self, how: signal.Signals) -> None:
        """Stop it: SIGINT is fast (clients are thrown out, all is written), SIGQUIT immediate (it has to recover)."""
        assert self._process is not None
        self._process.send_signal(how)
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End every process of it by kill -9."""
        assert self._process is not None
        children = self.children()
        self._process.kill()
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def freeze(self) -> None:
        """Stop every process of it by SIGSTOP: it takes connections, as the kernel does that, and says nothing."""
        assert self._process is not None
        for pid in (self._process.pid, *self.children()):
            os.kill(pid, signal.SIGSTOP)

    def close(self) -> None:
        """Stop it for good. May be called twice."""
        if self._process is not None and self._process.poll() is None:
            self.stop(signal.SIGQUIT)
        self._process = None


class Cluster:
    """What the DSN leads to: one server, or a primary and its synchronous standby."""

    def __init__(self, folder: Path, *, standby: bool) -> None:
        self.servers = [Server(folder / name) for name in (("a", "b") if standby else ("a",))]
        self._primary = 0
        self._rejoining: threading.Thread | None = None

    @property
    def primary(self) -> Server:
        """The server that takes writes."""
        return self.servers[self._primary]

    @property
    def other(self) -> Server:
        """The other one of two."""
        return self.servers[1 - self._primary]

    def open(self) -> None:
        """Make and start everything, with a database `chaos` that the user `chaos` owns, who is nobody special."""
        self.primary.create()
        self.primary.start()
        with self.primary.connect("postgres") as conn:
            conn.execute("create role chaos login password 'chaos'")
            conn.execute("create database chaos owner chaos")
        if len(self.servers) == 2:
            self._follow()

    def dsn(self, ports: list[int] | None = None) -> str:
        """Return the DSN for fleets and producers, through `ports` where proxies stand before the servers."""
        ports = ports or [server.port for server in self.servers]
        hosts = ",".join(["127.0.0.1"] * len(ports))
        more = " target_session_attrs=read-write" if len(ports) > 1 else ""
        return f"host={hosts} port={','.join(map(str, ports))} user=chaos password=chaos dbname=chaos{more}"

    def _follow(self) -> None:
        """Make the other server a standby that every durable commit waits for."""
        self.other.clone(self.primary)
        self.other.start()
        deadline = time.monotonic() + PATIENCE_S
        with self.primary.connect() as conn:
            conn.execute("alter system set synchronous_standby_names = 'standby'")
            conn.execute("select pg_reload_conf()")
            while not conn.execute("select 1 from pg_stat_replication where sync_state = 'sync'").fetchone():
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the standby does not follow: {self.other.log()}")
                time.sleep(0.05)

    def fail_over(self, *, frozen: bool = False) -> None:
        """Kill the primary, or freeze it; promote the standby."""
        if frozen:
            self.primary.freeze()
        else:
            self.primary.kill()
        with self.other.connect() as conn:
            # Nobody follows the new primary yet: without this its commits would wait for a standby for ever.
            conn.execute("alter system set synchronous_standby_names = ''")
            conn.execute("select pg_reload_conf()")
            conn.execute("select pg_promote(true, 60)")
        self._primary = 1 - self._primary

    def rejoin(self) -> None:
        """Make the server that was killed a standby of the new primary, in the background."""
        self._rejoining = threading.Thread(target=self._follow, name="chaos-rejoin")
        self._rejoining.start()

    @property
    def busy(self) -> bool:
        """Whether a server is becoming a standby: until then the other one must not be touched."""
        return self._rejoining is not None and self._rejoining.is_alive()

    def close(self) -> None:
        """Stop everything. May be called twice."""
        if self._rejoining is not None:
            self._rejoining.join()
        for server in self.servers:
            server.close()
