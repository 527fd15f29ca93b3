"""The command line, one file per command group. The only place that joins the supervisor with worker and steward.

Commands are imported when they are called, so that `fastq worker` forks from a process without psycopg.
"""
