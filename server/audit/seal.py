"""What a seal says, and the MACs that hold the chain together (DESIGN §8). Pure.

A seal has of each entry its key and a digest, so that `isthmus audit verify` can name the entry that was
changed, removed or added. Its HMAC-SHA256 covers them and that of the seal before, under a key derived from
the master key: whoever may write to the database, but has not that key, cannot make one.
"""

import hashlib
import hmac
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from server.kernel.envelope import Keyring, MasterKeyMissing, SealingKey

SEALS = "audit seals"  # the purpose of their keys
FIRST = 1  # the number of the first seal

_ENTRY = struct.Struct(">qq16s")  # recorded_us, sequence, digest
_SEAL = struct.Struct(">qqqq")  # number, to_us, to_sequence, sealed_us
_CHAIN = struct.Struct(">qqqqq")

Key = tuple[int, int]  # recorded_us, sequence: the order of the trail


@dataclass(frozen=True, slots=True)
class Seal:
    """A row of `AuditSeal`."""

    number: int
    to_us: int
    to_sequence: int
    sealed_us: int
    entries: bytes
    previous: bytes
    key_id: bytes = b""
    mac: bytes = b""

    @property
    def to(self) -> Key:
        """The key of its last entry."""
        return self.to_us, self.to_sequence

    def signed_by(self, key: SealingKey) -> tuple[bytes, bytes]:
        """The id of the key and the MAC by it."""
        said = _SEAL.pack(self.number, self.to_us, self.to_sequence, self.sealed_us)
        lengths = struct.pack(">qq", len(self.previous), len(self.entries))
        return key.id, _mac(key, b"audit seal\x00" + said + lengths + self.previous + self.entries)


@dataclass(frozen=True, slots=True)
class Chain:
    """The row of `AuditChain`."""

    first: int = FIRST
    last: int = FIRST - 1
    to_us: int = 0
    to_sequence: int = 0
    kept_us: int = 0
    head: bytes = b""
    key_id: bytes = b""
    mac: bytes = b""

    @property
    def to(self) -> Key:
        """The key of the last entry that was sealed."""
        return self.to_us, self.to_sequence

    def signed_by(self, key: SealingKey) -> tuple[bytes, bytes]:
        """The id of the key and the MAC by it."""
        said = _CHAIN.pack(self.first, self.last, self.to_us, self.to_sequence, self.kept_us)
        return key.id, _mac(key, b"audit chain\x00" + said + self.head)


@dataclass(frozen=True, slots=True)
class Look:
    """A row of `AuditCheck`."""

    part: str
    position: int = 0
    head: bytes = b""
    checked_us: int = 0
    found: int = 0
    finding: str | None = None
    pass_found: int = 0
    pass_finding: str | None = None
    key_id: bytes = b""
    mac: bytes = b""

    def signed_by(self, key: SealingKey) -> tuple[bytes, bytes]:
        """The id of the key and the MAC by it."""
        where = [self.part, self.position, self.head.hex(), self.checked_us]
        what = [self.found, self.finding, self.pass_found, self.pass_finding]
        return key.id, _mac(key, b"audit check\x00" + orjson.dumps([*where, *what]))


def is_genuine(signed: Seal | Chain | Look, keys: Keyring) -> bool:
    """Whether one of our keys made its MAC over what it says now."""
    try:
        key = keys.of(signed.key_id)
    except MasterKeyMissing:
        return False
    return hmac.compare_digest(signed.signed_by(key)[1], signed.mac)


def digest_entry(row: Mapping[str, Any]) -> bytes:
    """The digest of an entry. Columns without a value are left out: one added later changes no digest."""
    said = {name: value for name, value in row.items() if value is not None}
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest()[:16]


def pack_entries(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Key and digest of each of these entries, as a seal has them."""
    return b"".join(_ENTRY.pack(row["recorded_us"], row["sequence"], digest_entry(row)) for row in rows)


def unpack_entries(packed: bytes) -> list[tuple[Key, bytes]]:
    """What `pack_entries` packed."""
    return [((at_us, sequence), digest) for at_us, sequence, digest in _ENTRY.iter_unpack(packed)]


def _mac(key: SealingKey, said: bytes) -> bytes:
    return hmac.new(key.key, said, hashlib.sha256).digest()
