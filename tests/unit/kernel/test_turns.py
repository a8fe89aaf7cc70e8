"""Long answers take turns, and leave turns to others."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from server.kernel.turns import PIECE_BYTES, Turns


async def endless(piece: bytes, made: list[str], name: str) -> AsyncIterator[bytes]:
    while True:
        made.append(name)
        yield piece


async def drain(turns: Turns, body: AsyncIterator[bytes]) -> None:
    async for _ in turns.pieces(body):
        pass  # a socket that takes everything


async def turn_of_the_loop() -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("answers", [1, 10])
async def test_one_piece_a_turn_however_many_answers_and_each_in_its_turn(answers: int) -> None:
    turns, made = Turns(), list[str]()
    names = [str(number) for number in range(answers)]
    pulling = [asyncio.create_task(drain(turns, endless(bytes(PIECE_BYTES), made, name))) for name in names]
    for _ in range(3):
        await turn_of_the_loop()  # all have begun
    for _ in range(4 * answers):
        before = len(made)
        await turn_of_the_loop()
        assert len(made) - before <= 1
    assert made[answers:][: 2 * answers] == names * 2
    for each in pulling:
        each.cancel()


async def test_small_chunks_go_together() -> None:
    turns, made = Turns(), list[str]()
    pulling = asyncio.create_task(drain(turns, endless(bytes(PIECE_BYTES // 4), made, "a")))
    await turn_of_the_loop()
    assert len(made) == 4
    pulling.cancel()


async def test_who_goes_away_keeps_nobody_waiting() -> None:
    turns = Turns()
    first, second = asyncio.create_task(turns.take()), asyncio.create_task(turns.take())
    await turn_of_the_loop()
    first.cancel()
    await asyncio.wait_for(second, 5)
    await asyncio.wait_for(turns.take(), 5)


async def test_chunks_are_the_same() -> None:
    async def some() -> AsyncIterator[bytes]:
        for size in (PIECE_BYTES, 1, 0, PIECE_BYTES * 3):
            yield bytes(size)

    assert [len(chunk) async for chunk in Turns().pieces(some())] == [PIECE_BYTES, 1, 0, PIECE_BYTES * 3]
