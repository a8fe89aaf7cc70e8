"""How the object store answers: duration by operation, and what it refused."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from server.kernel.faults import Busy, StorageFull
from server.kernel.metrics import counter, histogram

_SECONDS = histogram(
    "isthmus_object_store_seconds", "One operation of the object store, retries included.", ("operation",)
)
_FAULTS = counter(
    "isthmus_object_store_faults",
    "What the object store refused: busy, gone or missing; out of room.",
    ("fault",),
)
_BUSY, _FULL = _FAULTS.labels("busy"), _FAULTS.labels("full")


@contextmanager
def watched(operation: str) -> Iterator[None]:
    """Time one operation (put, pack, upload, read, remove) and count its fault."""
    begun = time.perf_counter()
    try:
        yield
    except Busy as fault:
        (_FULL if isinstance(fault, StorageFull) else _BUSY).inc()
        raise
    finally:
        _SECONDS.labels(operation).observe(time.perf_counter() - begun)
