"""Whether bytes that are read are those that were received.

XXH3 tells damage from disk, memory or transport as well as SHA-256 does, at a sixteenth of its cost; it is no
defence against who can write to the object store. SHA-256 stays the name of the content, what backups and
the scrub prove, and what proves instances that were received before XXH3 was kept.
"""

from hashlib import sha256
from typing import Protocol

from xxhash import xxh3_128

from dicomweb.retrieve.locate import Located


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class Proof:
    """Takes the bytes of a file in order; `holds` when they were all there."""

    __slots__ = ("_expected", "_hash", "is_fast")

    def __init__(self, running: _Hash, expected: bytes, *, is_fast: bool) -> None:
        self._hash = running
        self._expected = expected
        self.is_fast = is_fast  # cheaper than handing the bytes to a thread

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        self._hash.update(data)

    @property
    def holds(self) -> bool:
        """Whether all bytes taken are those received."""
        return self._hash.digest() == self._expected


def proof_of(located: Located) -> Proof:
    """The cheapest one there is of this instance."""
    if located.file_xxh3 is not None:
        return Proof(xxh3_128(), located.file_xxh3, is_fast=True)
    return Proof(sha256(), located.file_sha256, is_fast=False)
