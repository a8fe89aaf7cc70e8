"""Where bytes live: the `ObjectStore` port, and the values that name ranges of it.

Names are ours, never from the data. Database rows hold (object, offset, length); a row is written only after
`put` has returned, so every row has its bytes, and bytes without a row are invisible.
"""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from server.kernel.faults import Busy, Fault, FaultKind

READ_CHUNK_BYTES = 1 << 20  # of a streamed read
MARKER = "installation"  # the object that says whose store this is

# Other things that share a bucket or a folder with our objects are not ours to list or to remove.
_OURS = re.compile(r"(sealed/[0-9a-f]{16}/)?(journal|large|packed|put|check)/[0-9a-f]{32}")


class DamagedObject(Fault):
    """Stored bytes are not those that were stored."""

    kind = FaultKind.INTERNAL


class ObjectInUse(Busy):
    """The object is still being written to; it can be removed later."""


@dataclass(frozen=True, slots=True)
class StoredRange:
    """`length` bytes, from `start`, of the body that begins at `offset` of `object_name`.

    As a row says it, it is a whole body: `start` is 0. Only a part says how long its whole body is.
    """

    object_name: str
    offset: int
    length: int
    start: int = 0
    whole_length: int | None = None  # of the body; None: the range is all of it

    @property
    def position(self) -> int:
        """The first byte of the range within the object, where bodies are kept as they are."""
        return self.offset + self.start

    @property
    def body_length(self) -> int:
        """The length of the body that the range is of."""
        return self.length if self.whole_length is None else self.whole_length

    def part(self, start: int, length: int) -> "StoredRange":
        """`length` bytes from `start` within this range.

        Raises:
            ValueError: the part does not lie within the range.
        """
        if start < 0 or length < 0 or start + length > self.length:
            raise ValueError("part outside the stored range")
        return StoredRange(self.object_name, self.offset, length, self.start + start, self.body_length)


@dataclass(frozen=True, slots=True)
class SpooledBody:
    """A body too large for memory, complete in a file of the store's own spool; `put` takes the file over."""

    path: Path
    length: int


@dataclass(frozen=True, slots=True)
class PlacedBody:
    """A body that says where it lies: its first bytes are made when object and offset are known.

    `content` leaves room for them; so bytes moved to another place can be told from those that belong there.
    """

    content: bytearray | SpooledBody
    head: Callable[[str, int], bytes]  # (object name, offset) → the first bytes


BytesBody = bytes | bytearray | memoryview
Body = BytesBody | SpooledBody | PlacedBody


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object as the store lists it."""

    name: str
    size: int
    modified_us: int  # by the store's clock


class ObjectStore(Protocol):
    """Durable bytes. One suite of tests holds for every adapter (`tests/ports`)."""

    @property
    def prefix(self) -> str:
        """What the names of objects written now begin with; "" or a folder with its slash."""
        ...

    async def put(self, bodies: Sequence[Body]) -> list[StoredRange]:
        """Store bodies of one study; they are durable when this returns, in the order given.

        Raises:
            StorageFull: no room; nothing of the request is kept.
            Busy: the store failed; nothing of the request counts as stored.
        """
        ...

    async def pack(self, bodies: AsyncIterator[Body]) -> list[StoredRange]:
        """Store bodies that fit memory one by one, all in one new object; they are durable on return.

        No bodies, no object.

        Raises:
            StorageFull, Busy: as `put`.
        """
        ...

    async def read(self, stored: StoredRange) -> bytes:
        """The bytes of a range.

        Raises:
            Busy: the store failed or the bytes are not there.
            DamagedObject: the bytes are there but prove to be others.
        """
        ...

    def stream(self, stored: StoredRange) -> AsyncIterator[bytes]:
        """The bytes of a range, in chunks of at most `READ_CHUNK_BYTES`; raises as `read`."""
        ...

    async def remove(self, object_name: str) -> None:
        """Remove an object for good; one that is not there is removed already.

        Raises:
            ObjectInUse: somebody may still add to it, or added to it a moment ago.
            Busy: the store failed.
        """
        ...

    def list_objects(self) -> AsyncIterator[ListedObject]:
        """Every object that is ours, whatever wrote it, in no order."""
        ...

    async def claim(self, installation: str) -> str:
        """Whose store this is: `installation` from now on, unless it is another's already."""
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


def is_our_name(name: str) -> bool:
    """Whether an object of this name was made by us."""
    return _OURS.fullmatch(name) is not None


def require_our_name(name: str) -> None:
    """Refuse a name that is none of ours: it could lead out of the store.

    Raises:
        DamagedObject: it is not.
    """
    if not is_our_name(name):
        raise DamagedObject("A stored range names no object of this store.")


def length_of(body: Body) -> int:
    """How many bytes a body takes in the store."""
    if isinstance(body, PlacedBody):
        return length_of(body.content)
    return body.length if isinstance(body, SpooledBody) else memoryview(body).nbytes


def placed(body: Body, object_name: str, offset: int) -> BytesBody | SpooledBody:
    """The body as it is to be written at this place; blocks when it is spooled."""
    if not isinstance(body, PlacedBody):
        return body
    head = body.head(object_name, offset)
    if isinstance(body.content, SpooledBody):
        with body.content.path.open("r+b") as file:
            file.write(head)
    else:
        body.content[: len(head)] = head
    return body.content
