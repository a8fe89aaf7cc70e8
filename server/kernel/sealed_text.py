"""A small secret kept in a row: sealed under the master key (AES-256-GCM), bound to what it belongs to.

```text
8: id of the sealing key · 12: nonce · the rest: the sealed text and its tag
```
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from server.kernel.envelope import Keyring, MasterKeyMissing

_KEY_ID, _NONCE = 8, 12


def seal_text(keys: Keyring, text: bytes, belongs_to: str) -> bytes:
    """The text, sealed; it opens only with the same `belongs_to`."""
    nonce = os.urandom(_NONCE)
    sealed = AESGCM(keys.current.key).encrypt(nonce, text, belongs_to.encode())
    return keys.current.id + nonce + sealed


def open_text(keys: Keyring, sealed: bytes, belongs_to: str) -> bytes:
    """The text that was sealed.

    Raises:
        MasterKeyMissing: by none of these keys, or for something else.
    """
    nonce = sealed[_KEY_ID : _KEY_ID + _NONCE]
    try:
        return AESGCM(keys.of(sealed[:_KEY_ID]).key).decrypt(
            nonce, sealed[_KEY_ID + _NONCE :], belongs_to.encode()
        )
    except InvalidTag:
        raise MasterKeyMissing("A secret does not open for what it lies with.") from None
