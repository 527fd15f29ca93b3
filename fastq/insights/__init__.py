"""What is asked about the whole: counts, history, what is wrong, searches. The page, the commands and probes share it.

Every question is bounded, whatever the backlog: none reads a whole table of jobs.
"""
