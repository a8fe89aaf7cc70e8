"""A cache in Redis, for all processes together. Values are sealed: patients' data, and Redis is not ours.

Redis bounds its memory itself (`maxmemory`, `allkeys-lru`); each value also ends by itself.
"""

import os
from contextlib import suppress
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from server.kernel.cache import MAX_VALUE_BYTES, TTL_S
from server.kernel.redis import RedisGone, RedisLink

NONCE_BYTES = 12  # NIST SP 800-38D §8.2.2; random, and keys of a few thousand values a second for years


class RedisCache:
    """Keeps values in Redis; without Redis there are none."""

    def __init__(self, link: RedisLink, key: bytes) -> None:
        self._link = link
        self._seal = AESGCM(key)

    async def get(self, key: str) -> bytes | None:
        name = _name(key)
        try:
            sealed: Any = await self._link.call(lambda client: client.get(name))
        except RedisGone:
            return None
        if sealed is None:
            return None
        try:
            return self._seal.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], name.encode())
        except InvalidTag:
            return None  # another installation's, or somebody's who could write to Redis

    async def put(self, key: str, value: bytes) -> None:
        if len(value) > MAX_VALUE_BYTES:
            return
        name, nonce = _name(key), os.urandom(NONCE_BYTES)
        sealed = nonce + self._seal.encrypt(nonce, value, name.encode())
        with suppress(RedisGone):
            await self._link.call(lambda client: client.set(name, sealed, px=int(TTL_S * 1000)))


def _name(key: str) -> str:
    return f"isthmus:cache:{key}"
