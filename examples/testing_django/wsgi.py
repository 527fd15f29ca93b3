"""What a web server runs: the app is opened once per process."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
application = get_wsgi_application()

from jobs import app  # noqa: E402 - the models are ready only now

app.__enter__()
