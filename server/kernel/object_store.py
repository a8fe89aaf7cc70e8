"""Where bytes live: the `ObjectStore` port, and the values that name ranges of it.

Names are ours, never from the data. Database rows hold (object, offset, length); a row is written only after
`put` has returned, so every row has its bytes, and bytes without a row are invisible.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

READ_CHUNK_BYTES = 1 << 20  # of a streamed read


@dataclass(frozen=True, slots=True)
class StoredRange:
    """Bytes in the store: `length` bytes of `object_name` from `offset`."""

    object_name: str
    offset: int
    length: int

    def part(self, start: int, length: int) -> "StoredRange":
        """`length` bytes from `start` within this range.

        Raises:
            ValueError: the part does not lie within the range.
        """
        if start < 0 or length < 0 or start + length > self.length:
            raise ValueError("part outside the stored range")
        return StoredRange(self.object_name, self.offset + start, length)


@dataclass(frozen=True, slots=True)
class SpooledBody:
    """A body too large for memory, complete in a file of the store's own spool; `put` takes the file over."""

    path: Path
    length: int


Body = bytes | bytearray | memoryview | SpooledBody


class ObjectStore(Protocol):
    """Durable bytes. One suite of tests holds for every adapter (`tests/ports`)."""

    async def put(self, bodies: Sequence[Body]) -> list[StoredRange]:
        """Store the bodies of one request; they are durable when this returns, in the order given.

        Raises:
            StorageFull: no room; nothing of the request is kept.
            Busy: the store failed; nothing of the request counts as stored.
        """
        ...

    async def read(self, stored: StoredRange) -> bytes:
        """The bytes of a range.

        Raises:
            Busy: the store failed or the bytes are not there.
        """
        ...

    def stream(self, stored: StoredRange) -> AsyncIterator[bytes]:
        """The bytes of a range, in chunks of at most `READ_CHUNK_BYTES`."""
        ...

    def spool_path(self) -> Path:
        """A fresh local path for a `SpooledBody` to be; the caller removes it unless `put` took it."""
        ...

    async def check(self) -> None:
        """Prove that the store can take bytes now.

        Raises:
            Busy: it cannot.
        """
        ...

    async def close(self) -> None:
        """Finish what is under way."""
        ...
