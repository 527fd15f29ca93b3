"""Pages about tasks are run as they stand: see test_readme."""

from __future__ import annotations

import pytest
from test_readme import Reader, blocks
from test_readme import reader as reader  # noqa: PLC0414 - a fixture

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("docs/batches.md", "one request for 500 documents"),
        ("docs/retention.md", "receipt 7"),
        ("docs/arguments.md", "10.90 Speed.FAST b'\\x00\\xff'"),
    ],
)
def test_every_block_does_what_the_page_says(reader: Reader, page: str, says: str) -> None:
    """Files, commands and workers of the page run in its order, as typed."""
    assert any(says in text for text in [reader.follow(block) for block in blocks(page)])
