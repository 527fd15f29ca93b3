"""A hundred thousand jobs in one transaction, from a generator; memory stays flat however many they are.

python bulk.py            enqueues
fastq worker bulk:app     works, until Ctrl-C
"""

import fastq

app = fastq.App()
COUNT = 100_000


@app.task
async def resize(number: int) -> None:
    """Pretend to."""


def main() -> None:
    with app:  # synchronous code: `with` and the _sync calls
        ids = app.enqueue_many_sync(
            (resize.job(number=number) for number in range(COUNT)),
            progress=lambda sent: print(f"\r{sent:,} of {COUNT:,}", end=""),
        )
    print(f"\renqueued {len(ids):,} jobs, {ids[0]} to {ids[-1]}")


if __name__ == "__main__":
    main()
