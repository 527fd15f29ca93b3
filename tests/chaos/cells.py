"""The cells of the table: which faults, how often, under what load."""

from __future__ import annotations

from dataclasses import dataclass

from chaos import faults
from chaos.faults import FaultFunction


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row of the table.

    `seconds` is how long faults happen; 0: until `jobs` were enqueued and nearly all have run. `every_s` is the pause
    between two faults, `most` ends a cell after so many. Each of the two producers aims at `rate` jobs per second;
    `light` asks for mostly instant ones. `strangers` lets people in who put and call what the types allow.
    """

    name: str
    faults: tuple[FaultFunction, ...]
    every_s: float = 2.0
    seconds: float = 25.0
    most: int = 0
    jobs: int = 0
    light: bool = False
    rate: float = 700.0
    lease_s: float = 20.0
    standby: bool = False
    proxied: bool = False
    strangers: bool = False


EVERYTHING: tuple[FaultFunction, ...] = (
    faults.postgres_fast,
    faults.postgres_immediate,
    faults.postgres_kill,
    faults.backend_terminate,
    faults.connections,
    faults.worker_kill,
    faults.worker_kills,
    faults.supervisor_kill,
    faults.host_kill,
    faults.steward_kill,
    faults.freeze,
    faults.failover,
    faults.deploy,
    faults.deaf,
    faults.deaf_for_good,
    faults.producer_kill,
)

_ALL = (
    Cell(name="postgres-fast", faults=(faults.postgres_fast,)),
    Cell(name="postgres-immediate", faults=(faults.postgres_immediate,)),
    Cell(name="postgres-kill", faults=(faults.postgres_kill,)),
    Cell(name="backend-kill", faults=(faults.backend_terminate,), every_s=0.2),
    Cell(name="pool-exhaustion", faults=(faults.connections,), every_s=3.0),
    Cell(name="worker-kill", faults=(faults.worker_kill,), every_s=1.0),
    Cell(name="repeated-kills", faults=(faults.worker_kills,), every_s=3.0, seconds=30.0),
    Cell(name="supervisor-kill", faults=(faults.supervisor_kill,)),
    Cell(name="host-kill", faults=(faults.host_kill,), every_s=4.0, lease_s=4.0),
    Cell(name="steward-kill", faults=(faults.steward_kill,), every_s=1.5),
    Cell(name="freeze", faults=(faults.freeze,), every_s=2.5, lease_s=4.0, seconds=35.0),
    Cell(name="failover", faults=(faults.failover,), standby=True, every_s=4.0),
    Cell(name="deploy-storm", faults=(faults.deploy,), every_s=0.1, seconds=180.0, most=20),
    Cell(name="deaf", faults=(faults.deaf,), proxied=True, every_s=4.0, lease_s=4.0, seconds=40.0),
    Cell(name="deaf-for-good", faults=(faults.deaf_for_good,), proxied=True, every_s=8.0, lease_s=4.0, seconds=40.0),
    Cell(name="strangers", faults=(), strangers=True, seconds=600.0, rate=200.0, lease_s=6.0),
    Cell(name="mix", faults=EVERYTHING, standby=True, proxied=True, seconds=60.0, lease_s=8.0),
    Cell(
        name="million",
        faults=EVERYTHING,
        standby=True,
        proxied=True,
        seconds=0.0,
        jobs=1_000_000,
        light=True,
        rate=2500.0,
        lease_s=8.0,
    ),
)
CELLS = {cell.name: cell for cell in _ALL}
