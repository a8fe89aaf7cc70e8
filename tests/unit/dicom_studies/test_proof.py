"""Whatever proves an instance, a changed byte is found before, or while, it is delivered."""

from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256

import pytest
from xxhash import xxh3_128_digest

from dicomweb.retrieve import content
from dicomweb.retrieve.content import file_content
from dicomweb.retrieve.locate import Located
from server.kernel.local_store import LocalObjectStore
from server.kernel.object_store import DamagedObject

BODY = bytes(range(256)) * 40_000  # of several chunks
WRONG = b"x" * 32


async def stored(objects: LocalObjectStore, *, has_xxh3: bool) -> Located:
    (where,) = await objects.put([BODY])
    fast = xxh3_128_digest(BODY) if has_xxh3 else None
    return Located(1, None, "1", "2", "3", "1.2.840.10008.1.2.1", sha256(BODY).digest(), fast, where)


async def whole(body: bytes | AsyncIterator[bytes]) -> bytes:
    return body if isinstance(body, bytes) else b"".join([chunk async for chunk in body])


@pytest.mark.parametrize("has_xxh3", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
async def test_damage_is_found(
    objects: LocalObjectStore, monkeypatch: pytest.MonkeyPatch, has_xxh3: bool, at_once: bool
) -> None:
    if not at_once:
        monkeypatch.setattr(content, "MAX_WHOLE_BYTES", 1000)
    located = await stored(objects, has_xxh3=has_xxh3)
    assert await whole(await file_content(objects, located)) == BODY
    wrong = replace(located, file_xxh3=WRONG[:16]) if has_xxh3 else replace(located, file_sha256=WRONG)
    with pytest.raises(DamagedObject):
        await whole(await file_content(objects, wrong))
