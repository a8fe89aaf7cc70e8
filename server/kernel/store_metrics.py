"""How the object store answers, by operation: duration, bytes, and what it could not do."""

from dataclasses import dataclass, field
from time import perf_counter
from types import TracebackType

from server.kernel.faults import Busy, StorageFull
from server.kernel.metrics import counter, histogram
from server.kernel.object_store import ObjectInUse
from server.kernel.tracing import Kind, Span, child_span

OPERATIONS = ("put", "pack", "upload", "read", "remove")

_SECONDS = histogram(
    "isthmus_object_store_seconds", "One operation of the object store, retries included.", ("operation",)
)
_BYTES = counter("isthmus_object_store_bytes", "Bytes stored and read.", ("operation",))
_FAULTS = counter(
    "isthmus_object_store_faults",
    "What the object store could not do: busy, gone or missing; out of room.",
    ("operation", "fault"),
)
for _operation in OPERATIONS:  # told from the start: a counter that appears with its first fault hides it
    for _fault in ("busy", "full"):
        _FAULTS.labels(_operation, _fault)


@dataclass(slots=True)
class watched:  # noqa: N801  reads as a phrase: `with watched("read", length):`
    """Time one of `OPERATIONS`, count the bytes that it moved when it succeeds, else its fault."""

    operation: str
    size: int = 0
    span: Span = field(init=False)
    begun: float = field(init=False)

    def __enter__(self) -> "watched":
        self.span = child_span(f"object {self.operation}", kind=Kind.CLIENT)
        self.span.__enter__()
        self.begun = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _SECONDS.labels(self.operation).observe(perf_counter() - self.begun)
        self.span.__exit__(kind, error, trace)
        if error is None:
            _BYTES.labels(self.operation).inc(self.size)
        elif isinstance(error, Busy) and not isinstance(error, ObjectInUse):  # only too early
            _FAULTS.labels(self.operation, "full" if isinstance(error, StorageFull) else "busy").inc()
