"""Which kind of job a number stands for, and its group or key: the same for producers, jobs and verdict."""

from __future__ import annotations

KINDS = (("instant", 35), ("hopped", 15), ("nap", 20), ("threaded", 10), ("booked", 12), ("stumble", 8))
LIGHT_KINDS = (("instant", 82), ("hopped", 10), ("nap", 2), ("threaded", 2), ("booked", 2), ("stumble", 2))
LIGHT = 10**12
"""Numbers from here on are mostly instant jobs."""

TICK = 10**13
"""From here on: an occurrence of the schedule, by its second."""

STRANGE = 10**14
"""From here on: what strangers enqueued, by their tag."""

EACH = 100_000_000
"""So many numbers has a producer; its kinds with rules of their own have so many of them each:"""

PART = 10_000_000
RULED = ("ordered", "unique", "limited", "batched", "reserved")

GROUPS = 3
KEY_RUN = 4
"""So many numbers in a row share a unique key."""


def kind_of(number: int) -> str:
    """Return what kind of job a number stands for."""
    if number >= TICK:
        return "tick" if number < STRANGE else "strange"
    if part := number % EACH // PART:
        return RULED[part - 1]
    place = number * 2654435761 % 2**32 % 100
    for kind, share in LIGHT_KINDS if number >= LIGHT else KINDS:
        if place < share:
            return kind
        place -= share
    raise AssertionError("the shares are less than 100")


def has_rules(number: int) -> bool:
    """Tell whether a number is of a kind that has rules of its own."""
    return number < TICK and number % EACH >= PART


def first_of(kind: str, producer: int) -> int:
    """Return the first number of such a kind, of the producer whose numbers begin with `producer`."""
    return producer + PART * (1 + RULED.index(kind))


def chain_of(number: int) -> str:
    """Return the ordered group or the unique key of a number: its jobs run one after the other."""
    if kind_of(number) == "ordered":
        return f"{number // PART}-{number % GROUPS}"
    return f"{number // KEY_RUN}"


def stumbles(number: int) -> bool:
    """Tell whether a job of a kind with rules fails at its first attempt."""
    return number % 7 == 0
