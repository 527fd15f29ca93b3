"""The supervisor of one host's worker processes: forks, pins, waits, restarts, escalates. Never connects.

    supervisor ── signals.py (as data) ──► run.py (what they mean) ──► fleet.py ──► crew.py ──► spawn.py (fork)
                                              │
              pure decisions: policy  seats  roll  drain  post  cells  exits  report

Imports only the standard library and fastq's own words (`board`, `states`, `config`, `errors`): psycopg, uvloop
and the user's app are imported by the children, after the fork.
"""

from fastq.host.child import Child, ChildEntry, Kind
from fastq.states import ExitCode
from fastq.supervisor.cells import cells_for, room_for
from fastq.supervisor.cpus import (
    available_cpus,
    cgroup_quota,
    cpus_each,
    default_processes,
    parse_cpus,
    pins,
    processes_here,
)
from fastq.supervisor.drain import Limits
from fastq.supervisor.policy import RestartPolicy
from fastq.supervisor.preflight import PreflightError, preflight
from fastq.supervisor.run import Supervisor

__all__ = [
    "Child",
    "ChildEntry",
    "ExitCode",
    "Kind",
    "Limits",
    "PreflightError",
    "RestartPolicy",
    "Supervisor",
    "available_cpus",
    "cells_for",
    "cgroup_quota",
    "cpus_each",
    "default_processes",
    "parse_cpus",
    "pins",
    "preflight",
    "processes_here",
    "room_for",
]
