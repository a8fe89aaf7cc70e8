"""The way to Redis, when Redis is not well."""

import asyncio
from typing import Any

import pytest

from server.kernel.redis import RedisGone, RedisLink
from tests.services.redis import RedisServer


async def answer_of(link: RedisLink, command: Any) -> None:
    """Have Redis answer, however busy this machine is."""
    while True:
        try:
            await link.call(command)
        except RedisGone:
            await link.probe()
        else:
            return


@pytest.mark.parametrize("way", ["killed", "hanging"])
async def test_a_redis_that_is_gone_is_asked_once_and_then_no_more(redis: RedisServer, way: str) -> None:
    link = RedisLink(redis.url)
    asked = 0

    async def ping(client: object) -> bool:
        nonlocal asked
        asked += 1
        return bool(await client.ping())  # type: ignore[attr-defined]

    await answer_of(link, ping)
    asked = 1
    redis.kill() if way == "killed" else redis.hang()
    for _ in range(3):
        with pytest.raises(RedisGone):
            await link.call(ping)
    assert asked == 2
    assert not await link.probe()
    redis.start() if way == "killed" else redis.go_on()
    assert await link.probe()
    await answer_of(link, ping)
    await link.close()


async def test_watching_finds_it_well_again(redis: RedisServer) -> None:
    link, stop = RedisLink(redis.url), asyncio.Event()
    watch = asyncio.create_task(link.watch(stop))
    redis.kill()
    with pytest.raises(RedisGone):
        await link.call(lambda client: client.ping())
    redis.start()
    while link.is_gone:
        await asyncio.sleep(0.01)
    await answer_of(link, lambda client: client.ping())
    stop.set()
    await watch
    await link.close()
