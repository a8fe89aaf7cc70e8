"""The form of a sealed body: chunked AEAD under a data key that the master key wraps. No store, no file.

```text
header  84 bytes   magic "ISTHMUS" and version 1 · 8: key id · 8: length of the plain body ·
                   12: nonce · 48: the body's own data key, wrapped (AES-256-GCM)
chunk i 64 KiB+16  AES-256-GCM under the data key; nonce: i; associated: i, and whether it is the last
```

The wrapping associates the rest of the header and the place (object name, offset), so a header proves that
the body belongs where it lies and how long it is; the chunks prove their order and their end. A data key is
used for one body only, which is why a counter may be its nonce. Wrapping takes random nonces: up to 2^32
bodies a key (NIST SP 800-38D §8.3).
"""

import hashlib
import hmac
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from server.kernel.faults import Fault, FaultKind
from server.kernel.object_store import DamagedObject

MAGIC = b"ISTHMUS\x01"
CHUNK_BYTES = 64 << 10  # of plain text: what a small range read costs at least
TAG_BYTES = 16
SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES
KEY_BYTES = 32

_OPEN_PART = struct.Struct(">8s8sQ")  # magic, key id, plain length
_HEADER = struct.Struct(">8s8sQ12s48s")
_CHUNK = struct.Struct(">Q?")  # number, whether it is the last
_NONCE = struct.Struct(">4xQ")
HEADER_BYTES = _HEADER.size


class MasterKeyMissing(Fault):
    """The settings do not have the master key that stored bytes were sealed with."""

    kind = FaultKind.INTERNAL


@dataclass(frozen=True, slots=True)
class SealingKey:
    """A key that wraps data keys; `id` names it without telling anything about it."""

    key: bytes

    @property
    def id(self) -> bytes:
        """Eight bytes that only this key has."""
        return hmac.new(self.key, b"isthmus key id", hashlib.sha256).digest()[:8]


class Keyring:
    """The key that seals now, and those before it, which only open."""

    def __init__(self, current: bytes, previous: Sequence[bytes] = ()) -> None:
        self.current = SealingKey(current)
        self._by_id = {each.id: each for each in (*map(SealingKey, previous), self.current)}

    def of(self, key_id: bytes) -> SealingKey:
        """The key of this id.

        Raises:
            MasterKeyMissing: it is none of ours.
        """
        if key_id not in self._by_id:
            raise MasterKeyMissing(
                "Stored bytes were sealed with a master key that the settings do not name."
            )
        return self._by_id[key_id]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a body lies."""

    object_name: str
    offset: int

    def associated(self) -> bytes:
        """The place as associated data."""
        return self.object_name.encode() + b"\x00" + str(self.offset).encode()


def new_data_key() -> bytes:
    """A key for one body."""
    return AESGCM.generate_key(KEY_BYTES * 8)


def sealed_length(plain_length: int) -> int:
    """How many bytes a body takes when it is sealed."""
    return HEADER_BYTES + plain_length + TAG_BYTES * count_chunks(plain_length)


def count_chunks(plain_length: int) -> int:
    """How many chunks a body has; an empty one has none."""
    return -(-plain_length // CHUNK_BYTES)


def seal_header(key: SealingKey, data_key: bytes, plain_length: int, place: Place) -> bytes:
    """The header of a body that lies at `place`."""
    said = _OPEN_PART.pack(MAGIC, key.id, plain_length)
    nonce = os.urandom(12)
    wrapped = AESGCM(key.key).encrypt(nonce, data_key, said + place.associated())
    return said + nonce + wrapped


def open_header(header: bytes, keyring: Keyring, plain_length: int, place: Place) -> bytes:
    """The data key of the body of `plain_length` at `place`.

    Raises:
        DamagedObject: the header is not that of this body.
        MasterKeyMissing: its key is none of ours.
    """
    magic, key_id, said_length, nonce, wrapped = _HEADER.unpack(header)
    if magic != MAGIC or said_length != plain_length:
        raise DamagedObject("A stored body does not begin as it was sealed.")
    try:
        associated = header[: _OPEN_PART.size] + place.associated()
        return AESGCM(keyring.of(key_id).key).decrypt(nonce, wrapped, associated)
    except InvalidTag as error:
        raise DamagedObject("A stored body does not begin as it was sealed.") from error


def seal_chunks(data_key: bytes, plain: memoryview, first: int, plain_length: int) -> Iterator[bytes]:
    """Seal `plain`, which begins with chunk number `first` of a body of `plain_length`."""
    cipher, last = AESGCM(data_key), count_chunks(plain_length) - 1
    for number, at in enumerate(range(0, len(plain), CHUNK_BYTES), first):
        associated = _CHUNK.pack(number, number == last)
        yield cipher.encrypt(_NONCE.pack(number), plain[at : at + CHUNK_BYTES], associated)


def open_chunks(data_key: bytes, sealed: memoryview, first: int, plain_length: int) -> bytes:
    """Open `sealed`, which begins with chunk number `first`; nothing of it is given out unless all is whole.

    Raises:
        DamagedObject: a chunk is not the one that was sealed there.
    """
    cipher, last = AESGCM(data_key), count_chunks(plain_length) - 1
    plain = []
    try:
        for number, at in enumerate(range(0, len(sealed), SEALED_CHUNK_BYTES), first):
            associated = _CHUNK.pack(number, number == last)
            chunk = sealed[at : at + SEALED_CHUNK_BYTES]
            plain.append(cipher.decrypt(_NONCE.pack(number), chunk, associated))
    except InvalidTag as error:
        raise DamagedObject("Stored bytes are not those that were sealed.") from error
    return plain[0] if len(plain) == 1 else b"".join(plain)


@dataclass(frozen=True, slots=True)
class ChunkRange:
    """The chunks that hold a range of a body: where they lie when sealed, and what of them is meant."""

    first: int
    sealed_start: int
    sealed_length: int
    skip: int  # plain bytes of the first chunk before the range

    @classmethod
    def holding(cls, start: int, length: int, plain_length: int) -> "ChunkRange":
        """The chunks of `length` plain bytes from `start`; `length` is over 0."""
        first, end = start // CHUNK_BYTES, -(-(start + length) // CHUNK_BYTES)
        plain_end = min(end * CHUNK_BYTES, plain_length)
        return cls(
            first,
            HEADER_BYTES + first * SEALED_CHUNK_BYTES,
            plain_end - first * CHUNK_BYTES + (end - first) * TAG_BYTES,
            start - first * CHUNK_BYTES,
        )
