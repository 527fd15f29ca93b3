"""Lets fastq live in the database that Django makes for its tests."""

import os
from typing import Any

from django.db import connection
from django.test.runner import DiscoverRunner
from psycopg import conninfo

from fastq import testing

PARTS = ("dbname", "user", "password", "host", "port")


class Runner(DiscoverRunner):
    def setup_databases(self, **kwargs: Any) -> Any:
        made = super().setup_databases(**kwargs)
        given = connection.get_connection_params()
        os.environ["FASTQ_DSN"] = dsn = conninfo.make_conninfo(**{k: given[k] for k in PARTS if given.get(k)})
        testing.migrate(dsn)
        return made
