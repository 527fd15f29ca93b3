"""A handler for many jobs at once, which says of each what becomes of it; and a queue with limits.

fastq migrate
fastq queues set mirror --max-running 200 --rate 1000/s
python examples/batch_handler.py
cd examples && fastq worker batch_handler:app
"""

from __future__ import annotations

import fastq

app = fastq.App()


@app.task(batch=100, queue="mirror", retries=2, backoff=0.1)
async def mirror(jobs: list[fastq.BatchItem]) -> None:
    """Write many rows with one request; those without a name are no use, the first one of all is tried once more."""
    rows = []
    for job in jobs:
        if not job.args["name"]:
            job.discard("it has no name")
        elif job.args["row"] == 1 and job.attempt == 1:
            job.retry(delay=0.1)
        else:
            rows.append(job.args["row"])
    print(f"mirrored {len(rows)} of {len(jobs)} rows")


if __name__ == "__main__":
    with app:
        app.enqueue_many_sync(mirror.job(row=n, name="" if n % 50 == 0 else f"Row {n}") for n in range(1, 251))
        print("enqueued 250 rows")
