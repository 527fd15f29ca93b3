"""Procrastinate, as its manual says it is fastest: jobs deferred in batches, deleted when done, many at once."""

from __future__ import annotations

import logging

import orders
import procrastinate
from orders import Orders

QUEUE = "peers"


def application(given: Orders) -> procrastinate.App:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=given.dsn, min_size=4, max_size=20))

    @app.task(queue=QUEUE, name="noop")
    async def noop(user_id: int, email: str) -> None:  # noqa: ARG001 - the payload
        orders.ran.one()

    return app


async def prepare(given: Orders) -> None:
    app = application(given)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await orders.go()


async def enqueue(given: Orders) -> None:
    app = application(given)
    payloads = orders.payloads(given.jobs)
    async with app.open_async():
        await orders.go()
        for first in range(0, given.jobs, orders.BATCH):
            batch = payloads[first : first + orders.BATCH]
            await app.configure_task("noop", queue=QUEUE).batch_defer_async(*batch)  # type: ignore[arg-type]
            for _ in batch:
                orders.ran.one()


async def drain(given: Orders) -> None:
    app = application(given)
    async with app.open_async():
        await orders.go()
        await app.run_worker_async(
            queues=[QUEUE],
            concurrency=given.concurrency,
            wait=False,
            delete_jobs="always",
            listen_notify=False,
            install_signal_handlers=False,
        )


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    orders.main({"prepare": prepare, "enqueue": enqueue, "drain": drain})
