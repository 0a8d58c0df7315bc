"""Ids of records: UUIDs of version 7 (RFC 9562) that sort in the order of keeping, even when the clock is set back.

A tick is what an id begins with: milliseconds since 1970 times 4096, plus a counter. The next id's tick is the clock's
or, where that is not later, one more than the last. So ids may run ahead of a clock that was set back; they order
records, `captured_at` dates them.
"""

import secrets
import uuid
from datetime import datetime

COUNTER_BITS = 12
RANDOM_BITS = 62


def tick_at(moment: datetime) -> int:
    """Return the first tick of a millisecond; 0 for a clock before 1970."""
    return max(0, int(moment.timestamp() * 1000)) << COUNTER_BITS


def tick_of(record_id: str) -> int:
    """Return the tick of an id."""
    value = uuid.UUID(record_id).int
    return value >> 80 << COUNTER_BITS | value >> 64 & 0xFFF


def id_at(tick: int) -> str:
    """Return a new id with that tick."""
    milliseconds, counter = tick >> COUNTER_BITS, tick & 0xFFF
    value = milliseconds << 80 | 7 << 76 | counter << 64 | 2 << RANDOM_BITS | secrets.randbits(RANDOM_BITS)
    return str(uuid.UUID(int=value))
