"""Django's settings, as few as it takes; DATABASE_URL names the database, as for fastq."""

import os

from psycopg import conninfo

_dsn = conninfo.conninfo_to_dict(os.environ.get("DATABASE_URL", "dbname=shop"))

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _dsn.get("dbname"),
        "USER": _dsn.get("user"),
        "PASSWORD": _dsn.get("password"),
        "HOST": _dsn.get("host"),
        "PORT": _dsn.get("port"),
    }
}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
SECRET_KEY = "only for tests"
ROOT_URLCONF = "urls"
TEST_RUNNER = "runner.Runner"
USE_TZ = True
