"""The steward: the one process of a host that does its housekeeping in the database.

    heartbeat   prolongs the rows of this host's workers          (every host)
    reaper  gives back what dead workers held                 (every host)
    listener    hears NOTIFY once per host, rings the workers     (every host)
    leader      promotes due jobs, rotates segments, prunes       (one host of the fleet)
    pages       serves /metrics and /health                       (where asked for)

Each has a connection of its own, so that none stands in a transaction of another. `main` is the child's entry.
"""
