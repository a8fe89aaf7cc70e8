"""Wake-ups within the process and between processes: one suite, where each has two ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from server.kernel.redis import RedisLink
from server.kernel.redis_wakeups import RedisWakeups
from server.kernel.wakeups import LocalWakeups, Wakeups
from tests.services.redis import RedisServer

LONG_S = 60.0  # what is awaited comes by itself


@dataclass
class Ends:
    """Where it is told, and where it is heard."""

    teller: Wakeups
    hearer: Wakeups
    links: tuple[RedisLink, ...] = ()


async def running(stack: AsyncExitStack, url: str) -> tuple[RedisWakeups, RedisLink]:
    link, stop = RedisLink(url), asyncio.Event()
    wakeups = RedisWakeups(link)
    tasks = [asyncio.create_task(wakeups.run(stop)), asyncio.create_task(link.watch(stop))]

    async def end() -> None:
        stop.set()
        await asyncio.gather(*tasks)
        await link.close()

    stack.push_async_callback(end)
    return wakeups, link


@pytest.fixture(params=["local", "redis"])
async def ends(request: pytest.FixtureRequest) -> AsyncIterator[Ends]:
    if request.param == "local":
        wakeups = LocalWakeups()
        yield Ends(wakeups, wakeups)
        return
    server: RedisServer = request.getfixturevalue("redis")
    async with AsyncExitStack() as stack:
        teller, hearer = await running(stack, server.url), await running(stack, server.url)
        yield Ends(teller[0], hearer[0], (teller[1], hearer[1]))


async def tell_until_heard(ends: Ends) -> None:
    """Both ends are connected once two words came through: one may be that the hearer has just connected."""
    with ends.hearer.waiting("test") as wakeup:
        for _ in range(2):
            ends.teller.tell("test")
            while not await wakeup.wait(0.05):
                ends.teller.tell("test")


async def test_told_is_heard(ends: Ends) -> None:
    async with asyncio.timeout(LONG_S):
        await tell_until_heard(ends)
        with ends.hearer.waiting("news") as one, ends.hearer.waiting("news") as other:
            ends.teller.tell("news")
            assert [await one.wait(LONG_S), await other.wait(LONG_S)] == [True, True]


async def test_other_topics_wake_nobody(ends: Ends) -> None:
    async with asyncio.timeout(LONG_S):
        await tell_until_heard(ends)
        with ends.hearer.waiting("news") as news, ends.hearer.waiting("last") as last:
            ends.teller.tell("other")
            ends.teller.tell("last")
            assert await last.wait(LONG_S)
            assert not await news.wait(0)


async def test_told_before_the_wait_is_not_lost(ends: Ends) -> None:
    async with asyncio.timeout(LONG_S):
        await tell_until_heard(ends)
        with ends.hearer.waiting("news") as news, ends.hearer.waiting("last") as last:
            ends.teller.tell("news")
            ends.teller.tell("last")
            await last.wait(LONG_S)
            await asyncio.sleep(0)
            assert await news.wait(LONG_S)
            assert not await news.wait(0)  # heard once


@pytest.mark.parametrize("way", ["killed", "hanging"])
async def test_redis_gone_is_felt_by_nobody_and_comes_back(redis: RedisServer, way: str) -> None:
    async with asyncio.timeout(LONG_S), AsyncExitStack() as stack:
        (teller, link), (hearer, _) = [await running(stack, redis.url) for _ in range(2)]
        ends = Ends(teller, hearer)
        await tell_until_heard(ends)
        redis.kill() if way == "killed" else redis.hang()
        with hearer.waiting("news") as elsewhere, teller.waiting("news") as here:
            while not link.is_gone:
                teller.tell("news")
                assert await here.wait(LONG_S)  # this process is told without Redis
                await asyncio.sleep(0)
            assert not await elsewhere.wait(0)
        redis.start() if way == "killed" else redis.go_on()
        while link.is_gone:
            await asyncio.sleep(0.01)
        await tell_until_heard(ends)
