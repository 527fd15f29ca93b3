"""What the log says of a job that did not simply succeed."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from fastq.backoff import Fixed
from fastq.ends.ending import Cancelled, Died, Raised, Stepped, Succeeded
from fastq.ends.outcome import RetryPolicy, conclude, done
from fastq.ends.settlement import LeasedJob, Settlement
from fastq.flow import Discard, Retry, Snooze
from fastq.observability.outcry import cry

pytestmark = pytest.mark.unit

log = logging.getLogger("test.outcry")
POLICY = RetryPolicy(retries=1, backoff=Fixed(delay_s=7))


def job(attempt: int = 0, meta: object = None) -> LeasedJob:
    """Return a job that was claimed."""
    return LeasedJob(lease=1, ord=0, id=17, task="mail", attempt=attempt, meta=meta)  # type: ignore[arg-type]


def raised(error: BaseException) -> BaseException:
    """Return an error with a traceback."""
    try:
        raise error  # noqa: TRY301
    except BaseException as exc:  # noqa: BLE001
        return exc


def said(
    caplog: pytest.LogCaptureFixture, settlement: Settlement, error: BaseException | None = None
) -> logging.LogRecord | None:
    """Return the record of one outcry; None if there was none."""
    caplog.clear()
    with caplog.at_level(logging.DEBUG, log.name):
        cry(log, job(), settlement, error=error, queue="letters")
    assert len(caplog.records) <= 1
    return caplog.records[0] if caplog.records else None


@pytest.mark.parametrize(
    ("error", "attempt", "level", "text", "traceback"),
    [
        (ValueError("no"), 1, "ERROR", "job 17 of mail failed for good after 2 attempts: ValueError: no", True),
        (ValueError("no"), 0, "WARNING", "job 17 of mail failed, and runs again in 7 s: ValueError: no", True),
        (Retry(600), 0, "WARNING", "job 17 of mail failed, and runs again in 10 min: Retry: the handler asked", False),
        (Snooze(60), 0, "DEBUG", "job 17 of mail runs again in 60 s", False),
        (Discard("no use"), 0, "INFO", "job 17 of mail was discarded: Discard: no use", False),
    ],
)
def test_each_end_has_its_level_and_its_words(
    caplog: pytest.LogCaptureFixture, error: Exception, attempt: int, level: str, text: str, traceback: bool
) -> None:
    """A final failure is an error and a retry a warning, both with the traceback; what a handler asked for has none."""
    error = raised(error)  # type: ignore[assignment]
    record = said(caplog, conclude(job(attempt), Raised(error), POLICY), error)
    assert record is not None
    assert (record.levelname, record.getMessage().startswith(text)) == (level, True), record.getMessage()
    assert (record.exc_info is not None) == traceback
    fields = {name: record.__dict__.get(name) for name in ("job_id", "task", "queue", "per")}
    assert fields == {"job_id": 17, "task": "mail", "queue": "letters", "per": "mail"}


@pytest.mark.parametrize(
    ("settlement", "text"),
    [
        (conclude(job(), Succeeded(), replace(POLICY, keep_s=60)), "job 17 of mail succeeded"),
        (conclude(job(), Cancelled()), "job 17 of mail was cancelled"),
        (conclude(job(), Stepped("post", "{}")), "job 17 of mail goes on as post"),
        (done(job()), None),
    ],
)
def test_what_went_well_is_for_debugging(
    caplog: pytest.LogCaptureFixture, settlement: Settlement, text: str | None
) -> None:
    """Nothing above DEBUG is said of a job that nobody has to look at."""
    record = said(caplog, settlement)
    assert (record and (record.levelname, record.getMessage())) == (text and ("DEBUG", text))


def test_a_death_is_told_like_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    """A job that goes back because its worker died is a warning; one that killed three workers an error."""
    first = said(caplog, conclude(job(), Died(ran=True, cause="SIGKILL")))
    assert first is not None
    assert first.levelname == "WARNING"
    assert "goes back into line: WorkerDied: the worker process ended by SIGKILL" in first.getMessage()
    last = said(caplog, conclude(job(meta={"crashes": 2}), Died(ran=True, cause="SIGKILL", counts=True)))
    assert last is not None
    assert last.levelname == "ERROR"
    assert "failed for good after 1 attempt: WorkerDied" in last.getMessage()


@pytest.mark.parametrize("meta", [None, [1], {"errors": 5}, {"errors": []}, {"errors": [{"type": 1}]}])
def test_whatever_stands_in_a_row_is_told_of(caplog: pytest.LogCaptureFixture, meta: object) -> None:
    """A row that says nothing of its errors has an outcry all the same."""
    settlement = conclude(job(1), Raised(ValueError()), POLICY)
    strange = Settlement(lease=1, ord=0, goes=settlement.goes, state=settlement.state, attempt=2, meta=meta)  # type: ignore[arg-type]
    record = said(caplog, strange)
    assert record is not None
    assert record.getMessage().endswith("failed for good after 2 attempts: no reason was kept")


def test_a_log_handler_that_raises_harms_no_job() -> None:
    """The user's own handler may do what it likes."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no disk")

    broken = Broken()
    log.addHandler(broken)
    try:
        cry(log, job(), conclude(job(1), Raised(ValueError()), POLICY))
    finally:
        log.removeHandler(broken)
