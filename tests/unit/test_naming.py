"""Which schema a process works in, and how its name gets into the texts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fastq
from fastq.schema import migrator
from fastq.sql import naming, statement

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nobody have named a schema, and forget who did."""
    monkeypatch.delenv("FASTQ_SCHEMA", raising=False)
    yield
    monkeypatch.undo()
    naming._named.option = naming._named.app = ""
    for change in naming._named.changes:
        change()


def test_it_is_fastq_unless_somebody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment last, then the app, then the command line."""
    assert naming.schema() == "fastq"
    monkeypatch.setenv("FASTQ_SCHEMA", "env")
    assert naming.schema() == "env"
    fastq.App(schema="shop")
    assert naming.schema() == "shop"
    fastq.App(schema="shop")
    fastq.App()
    naming.use_schema("typed")
    fastq.App(schema="shop")
    assert naming.schema() == "typed"


def test_two_apps_of_a_process_name_the_same() -> None:
    """Statements are the process's."""
    fastq.App(schema="shop")
    with pytest.raises(fastq.UsageError, match="another app of this process has schema='shop'"):
        fastq.App(schema="blog")


@pytest.mark.parametrize(
    "name",
    ["", "Shop", "1st", "pg_mine", "public", "information_schema", "a-b", "a;b", 'a"b', "a" * 41, "ä", "a\n", None, 7],
)
def test_names_that_would_need_quotes_or_are_others_are_refused(name: object) -> None:
    """In one sentence; an empty one in the environment is none."""
    with pytest.raises(fastq.UsageError, match=r"cannot be the schema: its name is up to 40 of a-z, 0-9 and _"):
        naming.checked(name)


def test_one_in_the_environment_is_refused_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an import says nothing."""
    monkeypatch.setenv("FASTQ_SCHEMA", "drop table")
    with pytest.raises(fastq.UsageError, match="'drop table' cannot be the schema"):
        naming.named("select fastq.x")


def test_statements_follow() -> None:
    """Those that were made before, too."""
    before = statement("list_audit")
    assert "fastq." in before
    naming.use_schema("shop")
    assert statement("list_audit") == before.replace("fastq.", "shop.")


def test_words_and_nothing_else() -> None:
    """Names of shards' schemas and patterns, not other words, nor what stands in comments."""
    naming.use_schema("shop")
    text = (
        "-- run fastq migrate\n"
        "select fastq.job, 'fastq', fastq_s%s.x, 'fastq_s'' || 1', fastqs.y, my_fastq.z, '\\mfastq\\.'"
    )
    assert naming.named(text) == (
        "-- run fastq migrate\nselect shop.job, 'shop', shop_s%s.x, 'shop_s'' || 1', fastqs.y, my_fastq.z, '\\mshop\\.'"
    )


def test_nothing_is_left_of_the_old_name_in_the_whole_schema() -> None:
    """But in comments."""
    naming.use_schema("shop")
    left = [line for line in migrator.script().splitlines() if "fastq" in line and not line.lstrip().startswith("--")]
    assert left == []
