"""A job that is promised before something outside the database is done, and runs only if that worked.

export DATABASE_URL=postgresql://localhost/shop
fastq migrate
python two_phase.py            reserves three deliveries; one is paid, one is refused, one is forgotten
fastq worker two_phase:app     delivers the one that was paid
"""

import asyncio

import fastq

app = fastq.App()


@app.task
async def deliver(order: int) -> None:
    print(f"delivered order {order}")


async def charge(order: int) -> bool:
    return order != 2  # the bank refuses order 2


async def main() -> None:
    async with app:
        for order in (1, 2):
            reserved = await deliver.reserve(expires=60, order=order)
            if await charge(order):
                await app.commit(reserved)
                print(f"order {order} is paid")
            else:
                await app.abandon(reserved)
                print(f"order {order} is refused")

        forgotten = await deliver.reserve(expires=0.1, order=3)
        await asyncio.sleep(0.2)
        try:
            await app.commit(forgotten)
        except fastq.ReservationGone:
            print("order 3 took too long")


if __name__ == "__main__":
    asyncio.run(main())
