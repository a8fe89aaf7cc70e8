"""The cache, in this process and in Redis: one suite."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from server.kernel import cache as local_cache
from server.kernel import redis_cache
from server.kernel.cache import MAX_VALUE_BYTES, Cache, LocalCache
from server.kernel.redis import RedisLink
from server.kernel.redis_cache import RedisCache
from tests.services.redis import RedisServer

KEY = bytes(32)


@pytest.fixture(params=["local", "redis"])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    if request.param == "local":
        yield LocalCache()
        return
    server: RedisServer = request.getfixturevalue("redis")
    link = RedisLink(server.url)
    yield RedisCache(link, KEY)
    assert not link.is_gone
    await link.close()


async def test_what_was_put_is_had_again(cache: Cache) -> None:
    assert await cache.get("a") is None
    await cache.put("a", b"1")
    await cache.put("b", b"")
    await cache.put("a", b"2")
    assert [await cache.get(key) for key in ("a", "b", "c")] == [b"2", b"", None]


async def test_what_is_too_large_is_not_kept(cache: Cache) -> None:
    await cache.put("large", bytes(MAX_VALUE_BYTES + 1))
    await cache.put("fits", bytes(MAX_VALUE_BYTES))
    assert await cache.get("large") is None
    assert await cache.get("fits") == bytes(MAX_VALUE_BYTES)


async def test_values_end_by_themselves(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (local_cache, redis_cache):
        monkeypatch.setattr(module, "TTL_S", 0.001)
    await cache.put("a", b"1")
    while await cache.get("a") is not None:
        pass


async def test_what_nobody_asks_for_leaves_memory_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_cache, "TTL_S", 0.001)
    cache = LocalCache()
    await cache.put("a", b"1")
    async with asyncio.timeout(10):
        while cache._values:
            await asyncio.sleep(0)
    assert cache._size == 0


async def test_memory_is_bounded_and_the_least_used_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_cache, "MAX_CACHED_BYTES", 20)
    cache = LocalCache()
    for key in "ab":
        await cache.put(key, bytes(8))
    await cache.get("a")
    await cache.put("c", bytes(8))
    assert [await cache.get(key) is not None for key in "abc"] == [True, False, True]


async def test_values_in_redis_are_sealed_and_bound_to_their_key(redis: RedisServer) -> None:
    link = RedisLink(redis.url)
    cache = RedisCache(link, KEY)
    await cache.put("a", b"Doe^John")
    sealed = await link.call(lambda client: client.get("isthmus:cache:a"))
    assert b"Doe" not in sealed
    await link.call(lambda client: client.set("isthmus:cache:b", sealed))
    assert await cache.get("b") is None
    assert await RedisCache(link, bytes([1] * 32)).get("a") is None
    await link.close()


async def test_without_redis_there_is_nothing_and_no_error(redis: RedisServer) -> None:
    link = RedisLink(redis.url)
    cache = RedisCache(link, KEY)
    redis.kill()
    await cache.put("a", b"1")
    assert await cache.get("a") is None
    await link.close()
