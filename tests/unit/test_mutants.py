"""The list of deliberate breaks follows the code: each can be applied, and names tests that are there."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.mutants.run import mutants

pytestmark = pytest.mark.unit


def test_each_break_can_be_applied() -> None:
    """Its text stands in its file exactly once, and its tests exist; where the code has moved on, the entry follows."""
    assert {mutant.name: problem for mutant in mutants() if (problem := mutant.problem())} == {}


def test_each_break_breaks_something_of_its_own() -> None:
    """No two have one name, and none replaces a text by itself."""
    names = Counter(mutant.name for mutant in mutants())
    assert [name for name, count in names.items() if count > 1] == []
    assert [mutant.name for mutant in mutants() if mutant.find == mutant.replace] == []
