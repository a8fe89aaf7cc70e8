"""Rate limits, counted in this process or in Redis: one suite."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from server.kernel.rate_limit import LocalRateLimiter, Rate, RateLimiter
from server.kernel.redis import RedisLink
from server.kernel.redis_rate_limit import RedisRateLimiter
from tests.services.redis import RedisServer

SLOW = Rate("slow", per_s=0.01, burst=3)


@pytest.fixture(params=["local", "redis"])
async def limiter(request: pytest.FixtureRequest) -> AsyncIterator[RateLimiter]:
    if request.param == "local":
        yield LocalRateLimiter()
        return
    server: RedisServer = request.getfixturevalue("redis")
    link = RedisLink(server.url)
    yield RedisRateLimiter(link)
    assert not link.is_gone  # it was Redis that counted
    await link.close()


async def test_burst_is_allowed_and_then_no_more(limiter: RateLimiter) -> None:
    assert [await limiter.take(SLOW, "a") for _ in range(3)] == [0, 0, 0]
    waits = [await limiter.take(SLOW, "a") for _ in range(3)]
    assert all(99 < wait <= 100 for wait in waits)  # a refusal costs nothing


async def test_keys_and_rates_do_not_meet(limiter: RateLimiter) -> None:
    for _ in range(3):
        await limiter.take(SLOW, "a")
    assert await limiter.take(SLOW, "b") == 0
    assert await limiter.take(Rate("other", per_s=0.01, burst=1), "a") == 0
    assert await limiter.take(SLOW, "a") > 0


async def test_what_is_given_back_may_be_taken_again(limiter: RateLimiter) -> None:
    await limiter.give_back(SLOW, "a")  # of what was not taken nothing is gained
    for _ in range(3):
        await limiter.take(SLOW, "a")
    await limiter.give_back(SLOW, "a")
    assert await limiter.take(SLOW, "b") == 0
    assert [await limiter.take(SLOW, "a") > 0 for _ in range(2)] == [False, True]


async def test_time_gives_back(limiter: RateLimiter) -> None:
    rate = Rate("quick", per_s=50, burst=2)
    assert [await limiter.take(rate, "a") for _ in range(2)] == [0, 0]
    wait = await limiter.take(rate, "a")
    assert 0 < wait <= 0.02
    await asyncio.sleep(wait + 0.001)
    assert await limiter.take(rate, "a") == 0


async def test_two_processes_count_together(redis: RedisServer) -> None:
    one, other = RedisLink(redis.url), RedisLink(redis.url)
    taken = [await RedisRateLimiter(link).take(SLOW, "a") == 0 for link in (one, other, one, other)]
    assert taken == [True, True, True, False]
    await one.close()
    await other.close()


async def test_without_redis_the_process_counts_by_itself(redis: RedisServer) -> None:
    link = RedisLink(redis.url)
    limiter = RedisRateLimiter(link)
    redis.kill()
    assert [await limiter.take(SLOW, "a") == 0 for _ in range(4)] == [True, True, True, False]
    assert link.is_gone
    await link.close()


async def test_first_one_is_taken_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    once_a_minute = Rate("minute", per_s=1 / 60, burst=1)
    for step in range(1000):  # just below a power of two the sum of instant and interval is rounded
        monkeypatch.setattr("server.kernel.rate_limit.time.monotonic", lambda now=8192 - step * 0.0603: now)
        limiter = LocalRateLimiter()
        assert await limiter.take(once_a_minute, "a") == 0
        assert await limiter.take(once_a_minute, "a") > 59
