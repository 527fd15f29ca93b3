"""The model of the lease protocol holds, and can fail: each seeded bug is found by the invariant that names it."""

from __future__ import annotations

import pytest
from model import BUGS, CLEAN, Check, missing, run

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())} (make model explains)"),
]


@pytest.mark.parametrize("check", [check for check in CLEAN if not check.long], ids=lambda check: check.name)
def test_the_protocol_holds(check: Check) -> None:
    """No interleaving with one fault breaks an invariant, and every run ends with each job's outcome accepted."""
    result = run(check)
    assert not result.violated, result.trace
    assert result.states > 1000


@pytest.mark.parametrize("check", BUGS, ids=lambda check: check.name)
def test_each_seeded_bug_is_found(check: Check) -> None:
    """What the protocol does not do, and why: each of these breaks an invariant."""
    result = run(check)
    assert result.violated == check.finds, result.trace
