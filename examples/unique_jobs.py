"""Jobs that are enqueued once, however often they are asked for.

export DATABASE_URL=postgresql://localhost/shop
fastq migrate
python unique_jobs.py            asks three times for one report, and twice for each of three
fastq worker unique_jobs:app     makes each report once
"""

import asyncio

import fastq

app = fastq.App()


@app.task
async def report(customer: int) -> None:
    print(f"report for customer {customer}")


async def main() -> None:
    async with app:
        for _ in range(3):
            job = await report.options(unique_key="report-1").enqueue(customer=1)
            print(f"job {job.id}" + (" is at it already" if job.duplicate else " will make it"))

        wanted = [2, 3, 4] * 2
        ids = await app.enqueue_many(report.options(unique_key=f"report-{n}").job(customer=n) for n in wanted)
        print(f"asked for {len(ids)} reports, {len(ids.duplicates)} of them twice")


if __name__ == "__main__":
    asyncio.run(main())
