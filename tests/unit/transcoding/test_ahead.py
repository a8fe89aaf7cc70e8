"""Parts made ahead of their turn."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from dicomweb import ahead
from dicomweb.ahead import AHEAD, in_order
from server.kernel.faults import Busy


class Work:
    """Makers that note what is under way and wait to be let go."""

    def __init__(self, count: int) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.gates = [asyncio.Event() for _ in range(count)]

    async def make(self, number: int) -> int:
        self.begun.append(number)
        try:
            await self.gates[number].wait()
        finally:
            self.ended.append(number)
        if number == 2:
            raise ValueError(number)
        return number

    def makers(self) -> list[Callable[[], Awaitable[int]]]:
        return [partial(self.make, number) for number in range(len(self.gates))]


async def test_in_their_order_whatever_is_ready_first() -> None:
    work = Work(2)
    made = in_order(iter(work.makers()))
    work.gates[1].set()
    first = asyncio.ensure_future(anext(made))
    while len(work.ended) < 1:
        await asyncio.sleep(0)
    assert not first.done()
    work.gates[0].set()
    assert [await first, *[each async for each in made]] == [0, 1]


async def test_only_some_at_once() -> None:
    work = Work(AHEAD + 3)
    work.gates[0].set()
    made = in_order(iter(work.makers()))
    assert await anext(made) == 0
    assert work.begun == list(range(AHEAD))
    await made.aclose()
    assert sorted(work.ended) == work.begun


async def test_a_failure_ends_it_and_the_rest() -> None:
    work = Work(AHEAD + 3)
    for gate in work.gates[:3]:
        gate.set()
    made = in_order(iter(work.makers()))
    assert [await anext(made), await anext(made)] == [0, 1]
    with pytest.raises(ValueError, match="2"):
        await anext(made)
    assert sorted(work.ended) == sorted(work.begun)


async def test_nothing() -> None:
    assert [each async for each in in_order(iter(()))] == []


async def test_who_is_not_the_first_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is 503 in the middle of an answer would break it off."""
    monkeypatch.setattr(ahead, "RETRY_S", 0)
    refusals = [0, 0, 3, 0]

    async def make(number: int) -> int:
        if refusals[number]:
            refusals[number] -= 1
            raise Busy("no room")
        return number

    makers = [partial(make, number) for number in range(4)]
    assert [each async for each in in_order(iter(makers))] == [0, 1, 2, 3]
    refusals[0] = 1
    with pytest.raises(Busy):
        await anext(in_order(iter(makers)))
