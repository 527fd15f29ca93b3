"""Runs the SPIN models of this folder and tells what they found: `make model`. See docs/model.md.

A clean model has to pass in every state; a model with a seeded bug has to fail, by the invariant that names it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
TOOLS = ("spin", "gcc")
MEMORY_MB = 12_000
KINDS = ("CRASHES", "EXPIRIES", "BREAKS", "CUTS", "FAILURES", "DRAINS")
TIMEOUT_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Check:
    """One run of the checker.

    Attributes:
        source: the model, without its suffix.
        defines: what it is compiled with; a bug is one of them.
        finds: the invariant that has to be violated; "" when none may be.
        cycles: look for runs that never end, instead of violations.
        long: takes minutes, or gigabytes.

    """

    name: str
    source: str = "lease"
    defines: dict[str, int | None] = field(default_factory=dict)
    finds: str = ""
    cycles: bool = False
    long: bool = False


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one run said: `violated` is the invariant, "" for none; `trace` tells how it came to that."""

    check: Check
    violated: str
    states: int
    seconds: float
    megabytes: float
    trace: str = ""

    @property
    def good(self) -> bool:
        """Whether the model did what it should."""
        return self.violated == self.check.finds


def bug(name: str, finds: str, *, source: str = "lease", **defines: int | None) -> Check:
    """Return the check of a model with one seeded bug."""
    return Check(name=name, source=source, defines={f"BUG_{name.upper()}": None, **defines}, finds=finds)


def only(*kinds: str, faults: int, outages: int = 0) -> dict[str, int | None]:
    """Return the defines of a model with so many faults, of these kinds alone."""
    return {"FAULTS": faults, "OUTAGES": outages, **{kind: 0 for kind in KINDS if kind not in kinds}}


CLEAN = (
    Check(name="one fault", defines={"FAULTS": 1}),
    Check(name="one fault: every run ends", defines={"FAULTS": 1}, cycles=True),
    Check(name="one fault, or an outage", defines={"FAULTS": 1, "OUTAGES": 1}),
    Check(name="ring, two jobs", source="ring", defines={"JOBS": 2}),
    Check(name="packet", source="packet"),
    Check(name="one fault, three jobs", defines={"FAULTS": 1, "JOBS": 3}, long=True),
    Check(name="two faults", defines={"FAULTS": 2}, long=True),
    Check(name="outage; a death, a failure", defines=only("CRASHES", "FAILURES", faults=2, outages=1), long=True),
    Check(name="outage; a lapse, a break", defines=only("EXPIRIES", "BREAKS", faults=2, outages=1), long=True),
    Check(name="outage; a cut, a drain", defines=only("CUTS", "DRAINS", faults=2, outages=1), long=True),
    Check(name="a lapse, a break, a cut", defines=only("EXPIRIES", "BREAKS", "CUTS", faults=3), long=True),
    Check(name="ring, three jobs", source="ring", defines={"JOBS": 3}, long=True),
)
BUGS = (
    bug("list_before_lock", "I3", FAULTS=1),
    bug("reap_what_was_listed", "I3", FAULTS=1),
    bug("claim_without_fence", "I5", FAULTS=1),
    bug("complete_without_hold", "I3", FAULTS=1),
    bug("settle_twice", "I3", FAULTS=2),
    bug("settle_in_doubt", "I3", FAULTS=1),
    bug("adopt_what_is_being_acked", "I6", FAULTS=0),
    bug("forget_before_ack", "I1", FAULTS=0),
    bug("sign_off_with_leases", "I5", **only("BREAKS", "DRAINS", faults=2)),
    bug("settle_asynchronously", "I2", **only("FAILURES", faults=2, outages=1)),
    bug("lease_id_again", "I2", FAULTS=1, OUTAGES=1),
    bug("adopt_untouched_only", "I1", FAULTS=1, OUTAGES=1),
    bug("forget_what_was_acked", "I6", FAULTS=1, OUTAGES=1),
    bug("part_without_lock", "I8", source="packet"),
    bug("delete_the_row", "I1", source="packet"),
    bug("sweep_in_two_looks", "I8", source="packet"),
    bug("truncate_beside_inserts", "I8", source="packet"),
    bug("truncate_without_leases", "I8", source="packet"),
    bug("truncate_what_was_listed", "I8", source="packet"),
    bug("no_second_look", "I7", source="ring"),
    bug("leases_go_with_their_jobs", "I7", source="ring"),
    bug("claim_from_head_only", "I1", source="ring"),
    bug("never_rescan", "I1", source="ring"),
)


def missing() -> list[str]:
    """Return the programs that are needed and not installed."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def run(check: Check) -> Result:
    """Make the checker of one model and let it look at every state."""
    with tempfile.TemporaryDirectory(prefix="fastq-model-") as folder:
        here = Path(folder)
        for file in HERE.glob("*.pml"):
            shutil.copy(file, here)
        given = [f"-D{name}" if value is None else f"-D{name}={value}" for name, value in check.defines.items()]
        model = f"{check.source}.pml"
        _call(here, "spin", "-a", *given, model)
        kind = ["-DNP"] if check.cycles else ["-DSAFETY"]
        speed = "-O2" if check.long else "-O0"
        _call(here, "gcc", "-w", speed, *kind, "-DNOFAIR", f"-DMEMLIM={MEMORY_MB}", "-o", "pan", "pan.c")
        said = _call(here, "./pan", "-m100000", "-w26" if check.long else "-w20", *(["-l"] if check.cycles else []))
        violated = _violated(said)
        trace = _call(here, "spin", "-t", "-T", *given, model).split("spin: trail ends")[0] if violated else ""
    return Result(
        check=check,
        violated=violated,
        states=int(_number(r"(\d[\d.e+]*) states, stored", said)),
        seconds=_number(r"elapsed time ([\d.e+-]+)", said),
        megabytes=_number(r"([\d.]+)\s+total actual memory usage", said),
        trace=trace,
    )


def _call(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"the checker did not finish:\n{text}")
    return float(found[1])


def _violated(said: str) -> str:
    """Return the invariant that an assertion names, or what else went wrong."""
    found = re.search(r"pan:\d+: (.*)", said)
    if found is None:
        if "errors: 0" not in said or "not completed" in said or "too small" in said:
            raise RuntimeError(f"the checker did not finish:\n{said}")
        return ""
    named = re.search(r"assertion violated \(+(I\d)", found[1])
    return named[1] if named else found[1]


def tell(result: Result) -> str:
    """Return one line for people, and the whole story when it is not the one that was expected."""
    found = f"violates {result.violated}" if result.violated else "clean"
    line = f"{'ok ' if result.good else 'BAD'} {result.check.name:28} {found:12}"
    line += f"{result.states:>12,} states {result.seconds:8.1f} s {result.megabytes:7,.0f} MB"
    return line if result.good else f"{line}\n{result.trace}"


def main(args: Sequence[str]) -> int:
    """Run all checks, those named, or the quick ones; returns 0 when all were good."""
    parser = argparse.ArgumentParser(prog="make model", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes or gigabytes")
    parser.add_argument("--trace", action="store_true", help="show how the seeded bugs do their harm")
    parser.add_argument("names", nargs="*", help="only the checks whose name contains one of these")
    given = parser.parse_args(args)
    if lacks := missing():
        print(f"the model needs {' and '.join(lacks)}; on Debian and Ubuntu: apt install spin gcc", file=sys.stderr)
        return 2
    bad = 0
    for check in (*CLEAN, *BUGS):
        if (given.quick and check.long) or (given.names and not any(name in check.name for name in given.names)):
            continue
        result = run(check)
        bad += not result.good
        print(tell(result), flush=True)
        if given.trace and result.good and result.trace:
            print(result.trace)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
