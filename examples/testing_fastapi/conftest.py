"""What the tests share: the application's own tables stand in the template that every test gets a copy of."""

from collections.abc import Callable

import psycopg
import pytest
from shop import TABLES


@pytest.fixture(scope="session")
def fastq_prepare() -> Callable[[str], None]:
    def prepare(dsn: str) -> None:
        with psycopg.connect(dsn) as conn:
            conn.execute(TABLES)

    return prepare


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
