"""Django's settings, as few as it takes; DATABASE_URL names the database."""

import os

import django
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
        "CONN_MAX_AGE": 600,
    }
}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "fastq.django",
    "shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TASKS = {"default": {"BACKEND": "fastq.django.Backend", "QUEUES": ["default", "mail"]}}
SECRET_KEY = "only for tests"
ROOT_URLCONF = "urls"
LOGIN_URL = "/login"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.console.EmailBackend"}}
else:
    EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
