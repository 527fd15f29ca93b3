"""The proof of durability: producers, two supervisors with workers, and faults all the time; nothing may be lost.

    cells      which faults a cell picks from, how often, under what load
    stage      sets a cell up, plays it, tears it down         run   the command line and the table
    cluster    a PostgreSQL of the harness's own               proxy  a TCP proxy that can go deaf
    fleet      one `fastq worker` with all its children        producer  enqueues, and writes down what it was told
    jobs       the app: handlers that write down every run     faults    what can go wrong
    ledger     what was acknowledged and what ran, read from files outside of the database
    verdict    lost, run again and why, effects, leaks

`python -m chaos.run` with `tests/` on the path; `make chaos` does that.
"""
