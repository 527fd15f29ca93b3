"""Look at jobs and steer them: wait for one, retry those that failed for one reason, cancel those not wanted any more.

python steering.py              enqueues, cancels one again, and shows what waits
fastq worker steering:app       works, until Ctrl-C
python steering.py retry        puts those back into line whose bank did not answer
"""

import asyncio
import sys

import fastq

app = fastq.App()


@app.task(queue="payments", retries=0)
async def charge(order: int) -> None:
    if order == 2:
        raise TimeoutError("the bank did not answer")
    print(f"charged order {order}")


async def enqueue() -> None:
    async with app:
        charges = [await charge.enqueue(order=order) for order in (1, 2, 3)]
        print(f"order 3 is {await app.jobs.cancel(charges[2].id)}")
        for job in await app.jobs.list(queue="payments"):
            print(f"job {job.id} for {job.args} is {job.state}")


async def retry() -> None:
    async with app:
        print(f"retried {await app.jobs.retry_many(task=charge.name, error='TimeoutError', limit=100)}")


if __name__ == "__main__":
    asyncio.run(retry() if "retry" in sys.argv else enqueue())
