"""What the children do and what happens to them, as /metrics tells it (docs/operations.md)."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from server.kernel.metrics import counter, gauge, histogram

TASKS = gauge("isthmus_pixel_tasks", "Tasks begun or in line.")
BUSY = gauge("isthmus_pixel_children_busy", "Children at work.")
TURNED_AWAY = counter("isthmus_pixel_tasks_turned_away", "Tasks refused because too many waited.")
RESULTS = counter("isthmus_pixel_results", "Results asked of the cache.", ("found",))
LOST_BY = ("died", "too-long", "memory", "not-started")
_SECONDS = histogram("isthmus_pixel_task_seconds", "How long a child worked at a task.", ("task", "outcome"))
_LOST = counter("isthmus_pixel_children_lost", "Children that had to be replaced.", ("why",))
for _why in LOST_BY:  # so that they are 0 and not absent
    _LOST.labels(_why)


def lost(why: str) -> None:
    """A child is gone, of `LOST_BY`."""
    _LOST.labels(why).inc()


class Work:
    """A task under way; who does it says how it ended."""

    outcome = "failed"


@contextmanager
def at_work(task: str) -> Iterator[Work]:
    """Count and time what a child does within."""
    work, began = Work(), time.monotonic()
    BUSY.inc()
    try:
        yield work
    finally:
        BUSY.dec()
        _SECONDS.labels(task, work.outcome).observe(time.monotonic() - began)
