"""The form of an encrypted file of a backup. Pure: bytes in, bytes out.

```text
header  40 bytes         magic "ISTHMUSB" · 32: salt
chunk i 64 KiB+16        AES-256-GCM; nonce: i; associated: i, and whether it is the last
last    up to 64 KiB+16  as a chunk; may be empty
```

A file's key is derived (HKDF, RFC 5869) from the repository's key, the salt and the file's name in the
repository. It is used for one file only, so a counter may be the nonce; chunks prove their order, their end,
and which file they belong to. The length of the whole need not be known before.
"""

import hashlib
import os
import struct

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from server.backup.faults import DamagedBackup

MAGIC = b"ISTHMUSB"
SALT_BYTES = 32
HEADER_BYTES = len(MAGIC) + SALT_BYTES
CHUNK_BYTES = 64 << 10  # of plain text
SEALED_CHUNK_BYTES = CHUNK_BYTES + 16

_NONCE = struct.Struct(">4xQ")
_CHUNK = struct.Struct(">Q?")  # number, whether it is the last


class KeyDerivation(msgspec.Struct, frozen=True):
    """How a passphrase becomes a key: scrypt (RFC 7914), which makes each guess cost 64 MiB."""

    salt: bytes
    n: int = 1 << 16
    r: int = 8
    p: int = 1

    def key(self, passphrase: str) -> bytes:
        """The repository's key."""
        memory = 128 * self.r * (self.n + self.p) + (1 << 20)
        return hashlib.scrypt(
            passphrase.encode(), salt=self.salt, n=self.n, r=self.r, p=self.p, maxmem=memory, dklen=32
        )


def _file_key(key: bytes, salt: bytes, name: str) -> bytes:
    return HKDF(SHA256(), 32, salt, b"isthmus backup file\x00" + name.encode()).derive(key)


class Sealer:
    """Encrypts one file, piece by piece."""

    def __init__(self, key: bytes, name: str) -> None:
        salt = os.urandom(SALT_BYTES)
        self._cipher = AESGCM(_file_key(key, salt, name))
        self._ready = MAGIC + salt
        self._held = bytearray()
        self._number = 0

    def add(self, plain: bytes | bytearray | memoryview) -> bytes:
        """Take more of the file; returns what can be written by now."""
        self._held += plain
        sealed, self._ready, at = [self._ready], b"", 0
        while len(self._held) - at > CHUNK_BYTES:  # the last chunk is known only at the end
            sealed.append(self._seal(bytes(self._held[at : at + CHUNK_BYTES]), is_last=False))
            at += CHUNK_BYTES
        del self._held[:at]
        return b"".join(sealed)

    def end(self) -> bytes:
        """The rest of the encrypted file."""
        return self._ready + self._seal(bytes(self._held), is_last=True)

    def _seal(self, plain: bytes, *, is_last: bool) -> bytes:
        number = self._number
        self._number += 1
        return self._cipher.encrypt(_NONCE.pack(number), plain, _CHUNK.pack(number, is_last))


class Opener:
    """Decrypts one file, piece by piece; nothing is given out before it has proved to be what was written."""

    def __init__(self, key: bytes, name: str) -> None:
        self._key, self._name = key, name
        self._cipher: AESGCM | None = None  # None: the header has not come yet
        self._held = bytearray()
        self._number = 0

    def add(self, sealed: bytes) -> bytes:
        """Take more of the encrypted file; returns what has proved to be whole by now.

        Raises:
            DamagedBackup: it is not what was written, or under another name.
        """
        self._held += sealed
        if self._cipher is None and not self._take_header():
            return b""
        plain, at = [], 0
        while len(self._held) - at > SEALED_CHUNK_BYTES:
            plain.append(self._open(bytes(self._held[at : at + SEALED_CHUNK_BYTES]), is_last=False))
            at += SEALED_CHUNK_BYTES
        del self._held[:at]
        return b"".join(plain)

    def end(self) -> bytes:
        """The rest of the file.

        Raises:
            DamagedBackup: as `add`; or the end is missing.
        """
        return self._open(bytes(self._held), is_last=True)

    def _take_header(self) -> bool:
        if len(self._held) < HEADER_BYTES:
            return False
        if self._held[: len(MAGIC)] != MAGIC:
            raise DamagedBackup(f"{self._name} does not begin as an encrypted file.")
        salt = bytes(self._held[len(MAGIC) : HEADER_BYTES])
        self._cipher = AESGCM(_file_key(self._key, salt, self._name))
        del self._held[:HEADER_BYTES]
        return True

    def _open(self, sealed: bytes, *, is_last: bool) -> bytes:
        number = self._number
        self._number += 1
        if self._cipher is None:
            raise DamagedBackup(f"{self._name} does not begin as an encrypted file.")
        try:
            return self._cipher.decrypt(_NONCE.pack(number), sealed, _CHUNK.pack(number, is_last))
        except InvalidTag:
            raise DamagedBackup(f"{self._name} is not what was written.") from None
