"""What several end-to-end tests are given."""

from __future__ import annotations

import pytest
from roles import logins  # noqa: F401 - a fixture
from small_shop import Shop


@pytest.fixture
def shop(dsn: str) -> Shop:
    """Give a small application; FASTQ_DSN names its database."""
    return Shop()
