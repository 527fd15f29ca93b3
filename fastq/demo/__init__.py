"""`fastq demo`: real work on this machine's own Python files, on a PostgreSQL that lives only for that.

place     a temporary directory with an embedded server in it; nothing of it stays
crew      `fastq worker fastq.demo.jobs:app` as a child process
files     which files there are
jobs      the app: what the workers run
tables    the demo's own tables, and what is read from them
progress  the moving line
summary   the words and figures at the end
run       the order of it all
"""
