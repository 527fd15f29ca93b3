"""The proof of durability: producers, two supervisors with workers, and faults all the time; nothing may be lost.

    cells      which faults a cell picks from, how often, under what load
    stage      sets a cell up, plays it, tears it down         silence  what comes after, and what remains
    run        the command line and the table                  kinds  what a number stands for
    cluster    a PostgreSQL of the harness's own               proxy  a TCP proxy that can go deaf
    fleet      one `fastq worker` with all its children        producer  enqueues, and writes down what it was told
    jobs       the app: handlers that write down every run     faults    what can go wrong
    ledger     what was acknowledged and what ran, read from files outside of the database
    verdict    lost, run again, effects, leaks                 explain  why a job ran again, or raised
    rules      order, unique keys, limits                      ruled  enqueues the jobs that have such rules
    strangers  put and call what the types allow               strange  values for that      crowd  what became of it

`python -m chaos.run` with `tests/` on the path; `make chaos` does that.
"""
