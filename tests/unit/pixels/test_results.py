"""Results made once for all who ask at once, and kept within a bound."""

import asyncio

import pytest

from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.results import ResultCache


class Work:
    """Something that takes until it is released."""

    def __init__(self, body: bytes = b"made") -> None:
        self.body, self.begun, self.ended, self.released = body, 0, 0, asyncio.Event()

    async def __call__(self) -> tuple[dict, bytes]:
        self.begun += 1
        await self.released.wait()
        self.ended += 1
        return {}, self.body


async def made(body: bytes) -> tuple[dict, bytes]:
    return {}, body


async def test_who_asks_at_once_shares_the_work() -> None:
    cache, work = ResultCache(), Work()
    asking = [asyncio.ensure_future(cache.get("key", work)) for _ in range(3)]
    other = asyncio.ensure_future(cache.get("other", work))
    await asyncio.sleep(0)
    work.released.set()
    assert await asyncio.gather(*asking, other) == [({}, b"made")] * 4
    assert work.begun == 2
    assert await cache.get("key", work) == ({}, b"made")
    assert work.begun == 2


async def test_who_goes_away_leaves_the_work_to_the_others() -> None:
    cache, work = ResultCache(), Work()
    first, second = (asyncio.ensure_future(cache.get("key", work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    work.released.set()
    assert await second == ({}, b"made")
    assert first.cancelled()


async def test_who_goes_away_last_takes_the_work_along() -> None:
    cache, work = ResultCache(), Work()
    asking = [asyncio.ensure_future(cache.get("key", work)) for _ in range(2)]
    await asyncio.sleep(0)
    for each in asking:
        each.cancel()
    await asyncio.wait(asking)
    again = asyncio.ensure_future(cache.get("key", work))  # does not wait for what is given up
    await asyncio.sleep(0)
    work.released.set()
    assert await again == ({}, b"made")
    assert (work.begun, work.ended) == (2, 1)


async def test_failures_are_told_to_all_and_not_kept() -> None:
    cache = ResultCache()

    async def fail() -> tuple[dict, bytes]:
        raise PixelsUnreadable("no")

    asked = await asyncio.gather(cache.get(1, fail), cache.get(1, fail), return_exceptions=True)
    assert [type(each) for each in asked] == [PixelsUnreadable] * 2
    assert await cache.get(1, lambda: made(b"now")) == ({}, b"now")


async def test_what_was_asked_for_longest_ago_makes_room() -> None:
    cache = ResultCache(max_bytes=10)
    for key in "abc":
        await cache.get(key, lambda: made(b"1234"))
        await cache.get("a", lambda: made(b"1234"))
    assert (await cache.get("a", lambda: made(b"new")))[1] == b"1234"
    assert (await cache.get("b", lambda: made(b"new")))[1] == b"new"


async def test_what_is_larger_than_all_is_not_kept() -> None:
    cache = ResultCache(max_bytes=3)
    await cache.get(1, lambda: made(b"1234"))
    assert (await cache.get(1, lambda: made(b"new")))[1] == b"new"


async def test_nothing_is_kept_for_ever() -> None:
    cache = ResultCache(kept_s=0)
    await cache.get(1, lambda: made(b"old"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (await cache.get(1, lambda: made(b"new")))[1] == b"new"


@pytest.mark.parametrize("failing", [True, False])
async def test_work_that_nobody_waits_for_ends_quietly(failing: bool) -> None:
    cache, begun = ResultCache(), asyncio.Event()

    async def work() -> tuple[dict, bytes]:
        begun.set()
        await asyncio.sleep(0)
        if failing:
            raise PixelsUnreadable("no")
        return {}, b""

    asking = asyncio.ensure_future(cache.get(1, work))
    await begun.wait()
    asking.cancel()
    await asyncio.wait([asking])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await cache.get(1, lambda: made(b"new")) in (({}, b""), ({}, b"new"))
