"""Tests of the application and its jobs. Run: pytest"""

import httpx
import psycopg
import pytest
from fastapi.testclient import TestClient
from shop import api, app, connection, welcome

import fastq
from fastq import testing

pytestmark = pytest.mark.usefixtures("fastq_dsn")


def test_signing_up_sends_a_letter(fastq_dsn: str) -> None:
    """From the request to what the job did, with the synchronous client."""
    with TestClient(api) as client:
        account_id = client.post("/accounts", json={"email": "ada@example.com"}).json()
        job = testing.assert_enqueued(welcome, account_id=account_id)
        assert job.queue == "mail"
        testing.drain_sync(app)
    with psycopg.connect(fastq_dsn) as conn:
        assert conn.execute("select * from letter").fetchall() == [(account_id, "Welcome, ada!")]


@pytest.mark.anyio
async def test_the_same_with_coroutines() -> None:
    """The client of httpx does not run FastAPI's lifespan, so the test opens the app."""
    transport = httpx.ASGITransport(api)
    async with app, httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.post("/accounts", json={"email": "ada@example.com"})
        runs = await testing.drain(app)
    assert [run.result for run in runs.of(welcome)] == ["Welcome, ada!"]


@pytest.mark.anyio
async def test_in_a_transaction_that_is_rolled_back(fastq_dsn: str) -> None:
    """The request's connection is the test's; the job is seen on it, and on no other."""
    async with app, await psycopg.AsyncConnection.connect(fastq_dsn) as conn:
        api.dependency_overrides[connection] = lambda: conn
        transport = httpx.ASGITransport(api)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            await client.post("/accounts", json={"email": "ada@example.com"})
        testing.assert_enqueued(welcome, conn=conn, email="ada@example.com")
        assert testing.enqueued(app) == []
        await conn.rollback()
        api.dependency_overrides.clear()


@pytest.mark.anyio
async def test_one_job() -> None:
    """What the handler returns, and what it raises."""
    assert await testing.run_job(app, welcome.job(account_id=1, email="ada@example.com")) == "Welcome, ada!"
    with pytest.raises(fastq.Discard):
        await testing.run_job(app, welcome.job(account_id=1, email="nowhere"))


def test_each_test_has_its_own_database(fastq_dsn: str) -> None:
    """Nothing of the other tests is there."""
    with psycopg.connect(fastq_dsn) as conn:
        assert conn.execute("select count(*) from account").fetchone() == (0,)
