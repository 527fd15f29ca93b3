"""One worker process: claims batches, runs their jobs, acknowledges them.

    claimer ──► batches ──► executor (slots) ──► ledger ──► acks, riding on the next claim or alone
       ▲  lanes, demand (pure)      │ threads for sync functions
       └── doorbell, poll             └── board: what runs right now

`main` is the child's entry; it is the only module here that the supervisor's command names.
"""
