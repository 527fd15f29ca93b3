"""One tenant's thousand exports do not hold up another's single one.

export DATABASE_URL=postgresql://localhost/shop
fastq migrate
python fair_groups.py             enqueues 1000 exports for one tenant, then one for another
fastq worker fair_groups:app      does the single one among the first
"""

import asyncio

import fastq

app = fastq.App()


@app.task
async def export(tenant: str, n: int) -> None:
    if n % 500 == 0:
        print(f"export {n} of {tenant}")


async def main() -> None:
    async with app:
        await app.enqueue_many(export.options(group_key="big").job(tenant="big", n=n) for n in range(1, 1001))
        await export.options(group_key="small").enqueue(tenant="small", n=0)
        print("enqueued 1001 exports for 2 tenants")


if __name__ == "__main__":
    asyncio.run(main())
