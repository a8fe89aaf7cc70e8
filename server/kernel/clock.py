"""Instants as UTC epoch microseconds, and their FHIR text."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

Clock = Callable[[], int]  # UTC epoch microseconds

SECOND_US = 1_000_000


def now_us() -> int:
    """The wall clock, in UTC epoch microseconds."""
    return time.time_ns() // 1000


@lru_cache(64)  # all that one transaction writes has its time
def instant_text(instant_us: int) -> str:
    """A FHIR instant with milliseconds in UTC (FHIR R4 datatypes.html#instant)."""
    moment = datetime.fromtimestamp(instant_us / SECOND_US, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
