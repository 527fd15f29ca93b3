"""A task, a producer and how to run the worker.

python quickstart.py            enqueues
fastq worker quickstart:app     works, until Ctrl-C
"""

import asyncio

import fastq

app = fastq.App()


@app.task(queue="mail", retries=5)
async def welcome(user_id: int) -> None:
    print(f"welcome, user {user_id}")


async def main() -> None:
    async with app:
        job = await welcome.enqueue(user_id=7)
        await welcome.options(priority=0, delay=1).enqueue(user_id=8)
    print(f"enqueued job {job.id} and another for a second later")


if __name__ == "__main__":
    asyncio.run(main())
