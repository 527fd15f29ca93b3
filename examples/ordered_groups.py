"""What happens to one account happens in its order, while others go on beside it.

export DATABASE_URL=postgresql://localhost/shop
fastq migrate
python ordered_groups.py             enqueues three bookings for each of two accounts
fastq worker ordered_groups:app      does them, account by account in order, though one of them needs a second try
"""

import asyncio

import fastq

app = fastq.App()


@app.task(queue="bookings", ordered=True, retries=3, backoff=0.2)
async def book(account: str, amount: int, ctx: fastq.Context) -> None:
    if amount < 0 and ctx.attempt == 1:
        raise ConnectionError("the bank did not answer")  # the account's later bookings wait for the retry
    print(f"booked {amount:+} on {account}")


async def main() -> None:
    async with app:
        amounts = [100, -30, 5]
        jobs = [book.options(group_key=name).job(account=name, amount=n) for n in amounts for name in ("ada", "alan")]
        await app.enqueue_many(jobs)
        for job in await app.jobs.list(queue="bookings"):
            print(f"{job.args['amount']:+} on {job.args['account']} is {job.state}")


if __name__ == "__main__":
    asyncio.run(main())
