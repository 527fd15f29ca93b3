"""Jobs at a time: by the clock, later, and at an instant.

python schedules.py            enqueues one for in a second and one for an instant
fastq worker schedules:app     works, and runs what the clock says, until Ctrl-C
"""

from datetime import UTC, datetime, timedelta

import fastq

app = fastq.App()


@app.cron("*/2 * * * * *")  # six fields: seconds come first
async def every_other_second(ctx: fastq.Context) -> None:
    print(f"tick for {ctx.headers['scheduled_for']}")


@app.cron("30 9 * * MON-FRI", tz="Europe/Athens", catch_up="one")
@app.task(queue="reports", retries=5)
async def morning_report(ctx: fastq.Context) -> None:
    day = datetime.fromisoformat(ctx.headers["scheduled_for"])  # the occurrence, however late this runs
    print(f"report for {day:%A}")


@app.task
async def remind(whom: str) -> None:
    print(f"reminded {whom}")


def main() -> None:
    with app:
        remind.options(delay=1).enqueue_sync(whom="Ada")
        remind.options(run_at=datetime.now(UTC) + timedelta(seconds=1)).enqueue_sync(whom="Grace")
    print("enqueued two reminders")


if __name__ == "__main__":
    main()
