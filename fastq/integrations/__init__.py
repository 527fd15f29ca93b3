"""fastq inside what a team has already: web frameworks, migrations, traces, error reports, logs. Import what you need.

    fastapi      an app's lifespan, and enqueues in the session of a request: FastAPI and Starlette
    litestar     the same as a plugin
    alembic      fastq's schema in a revision
    otel         traces and metrics by OpenTelemetry
    sentry       errors, traces and the Queues page of Sentry
    structlog    the running job in each record

Django has a package of its own, `fastq.django`, because Django finds by names what it uses.
"""
