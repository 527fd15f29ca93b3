"""An app that sets up logging of its own when it is imported: as LOGGING_BY says."""

from __future__ import annotations

import logging
import logging.config
import os

import fastq

FORMAT = "MINE %(levelname)s %(message)s job=%(job_id)s task=%(task)s"

match os.environ["LOGGING_BY"]:
    case "basicConfig":
        logging.basicConfig(level=logging.DEBUG, format=FORMAT)
        logging.getLogger().handlers[0].addFilter(fastq.LogFields())
    case "dictConfig":
        handler = {"class": "logging.StreamHandler", "formatter": "mine", "filters": ["job"]}
        logging.config.dictConfig(
            {
                "version": 1,  # and disable_existing_loggers, which is true by default
                "filters": {"job": {"()": "fastq.LogFields"}},
                "formatters": {"mine": {"format": FORMAT}},
                "handlers": {"err": handler},
                "root": {"level": "DEBUG", "handlers": ["err"]},
            }
        )

log = logging.getLogger("myapp")
app = fastq.App()


@app.task(retries=0)
async def speaks(n: int) -> None:
    """Log, and fail."""
    log.debug("spoke %s", n)
    log.info("spoke of tasks", extra={"task": "other"})
    raise ValueError("no")
