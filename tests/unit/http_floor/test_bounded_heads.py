"""What an HTTP/1.1 connection may hold before anybody is known, and how long, on real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from server.http import bounded_heads, paced_bodies
from server.http.bounded_heads import MAX_HEAD_BYTES
from server.http.paced_bodies import PacedBodies

Exchange = Callable[..., Awaitable[bytes]]
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
READ_BYTES = 256 << 10  # of an event loop at once


class Windows:
    """Counts the windows in which a body is watched."""

    def __init__(self) -> None:
        self._begun = asyncio.Condition()
        self.number = 0

    async def begin(self) -> None:
        async with self._begun:
            self.number += 1
            self._begun.notify_all()

    async def next(self, count: int = 1) -> None:
        """Return when so many more have begun."""
        until = self.number + count
        async with self._begun:
            await self._begun.wait_for(lambda: self.number >= until)


async def application(scope: Any, receive: Any, send: Any) -> None:
    size, more = 0, True
    if scope["path"] == "/late":
        await scope["state"]["windows"].next(3)
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]})
    await send({"type": "http.response.body", "body": b"%08d" % size})


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Windows:
    counted, tasks = Windows(), set()
    begin = PacedBodies._begin_window

    def counting(protocol: PacedBodies) -> None:
        begin(protocol)
        tasks.add(asyncio.get_running_loop().create_task(counted.begin()))

    monkeypatch.setattr(PacedBodies, "_begin_window", counting)
    return counted


@pytest.fixture
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paced_bodies, "BODY_WINDOW_S", 0.02)


@pytest.fixture
async def exchange(windows: Windows) -> AsyncIterator[Exchange]:
    """Send pieces over a fresh connection, a number: let so many windows begin; what came back."""
    config = uvicorn.Config(application, port=0, http=PacedBodies, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    server.lifespan.state["windows"] = windows

    async def talk(*pieces: bytes | int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for piece in pieces:
                if isinstance(piece, int):
                    await windows.next(piece)
                else:
                    writer.write(piece)
                    await writer.drain()
            answer = await asyncio.wait_for(reader.read(1 << 16), 10)
            return answer if answer != CONTINUE else await asyncio.wait_for(reader.read(1 << 16), 10)
        except ConnectionError:
            return await reader.read(1 << 16)
        finally:
            writer.close()

    yield talk
    server.should_exit = True
    await serving


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        pytest.param(
            [HEAD + b"X: " + b"a" * (MAX_HEAD_BYTES // 2) + b"\r\n\r\n"], b" 200 ", id="long enough"
        ),
        pytest.param([HEAD + b"X: ", *[b"a" * READ_BYTES] * 3], b" 431 ", id="an endless field"),
        pytest.param([HEAD, *[b"X: a\r\n" * 20_000] * 8], b" 431 ", id="endless fields"),
        pytest.param(
            [b"GET /" + b"a" * READ_BYTES, b"a" * READ_BYTES, b"a" * READ_BYTES], b" 4", id="a path"
        ),
        pytest.param(
            [HEAD + b"Content-Length: 3000000\r\n\r\n", b"a" * 3_000_000], b"03000000", id="a large body"
        ),
        pytest.param(
            [HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: ", *[b"a" * READ_BYTES] * 3],
            b" 431 ",
            id="an endless trailer",
        ),
    ],
)
async def test_head_and_trailer_are_bounded(exchange: Exchange, pieces: list[bytes], status: bytes) -> None:
    assert status in await exchange(*pieces)


SMUGGLED = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(HEAD + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n" + SMUGGLED, id="length and chunks"),
        pytest.param(HEAD + CHUNKED + b"Content-Length: 4\r\n\r\n" + SMUGGLED, id="chunks and length"),
        pytest.param(HEAD + b"Content-Length: 4\r\nContent-Length: 40\r\n\r\n" + SMUGGLED, id="two lengths"),
        pytest.param(HEAD + b"Content-Length: +4\r\n\r\n" + SMUGGLED, id="a length with a sign"),
        pytest.param(HEAD + b"Transfer-Encoding : chunked\r\n\r\n" + SMUGGLED, id="a blank before the colon"),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked, x\r\n\r\n" + SMUGGLED, id="chunked is not the last"
        ),
        pytest.param(HEAD + CHUNKED + b"\r\n1\nA\n0\n\n", id="chunks ended by a line feed"),
        pytest.param(
            HEAD + b"X: a\nTransfer-Encoding: chunked\r\n\r\n" + SMUGGLED, id="a line feed in a head"
        ),
    ],
)
async def test_body_whose_length_is_in_doubt_is_400_and_ends_the_connection(
    exchange: Exchange, pieces: bytes
) -> None:
    answer = await exchange(pieces)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("begun", [b"", HEAD])
async def test_slow_head_is_not_waited_for(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(bounded_heads, "HEAD_TIMEOUT_S", 0.1)
    assert await exchange(begun) == b""


BODY = b"Content-Length: 200000\r\n\r\n"
PART = b"a" * paced_bodies.BODY_MIN_BYTES


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([HEAD + BODY], id="nothing"),
        pytest.param([HEAD + BODY, PART, 1, PART[1:]], id="a little"),
        pytest.param([HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\na"], id="a chunk that does not end"),
    ],
)
@pytest.mark.usefixtures("short_windows")
async def test_a_body_that_does_not_come_is_not_waited_for(
    exchange: Exchange, pieces: list[bytes | int]
) -> None:
    assert b" 408 " in await exchange(*pieces)


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([HEAD + BODY, *[PART, 1] * 5, b"a" * (200_000 - 5 * len(PART))], id="slow"),
        pytest.param(
            [HEAD.replace(b"/", b"/late", 1) + BODY, b"a" * 200_000], id="an application that reads late"
        ),
        pytest.param(
            [HEAD.replace(b"/", b"/late", 1) + b"Expect: 100-continue\r\n" + BODY, 3, b"a" * 200_000],
            id="an application that bids late",
        ),
    ],
)
@pytest.mark.usefixtures("short_windows")
async def test_a_body_that_comes_in_time_is_taken(exchange: Exchange, pieces: list[bytes | int]) -> None:
    assert b"00200000" in await exchange(*pieces)


async def test_half_open_uploads_hold_up_nobody(exchange: Exchange) -> None:
    begun = [asyncio.create_task(exchange(HEAD + BODY, PART, 1000)) for _ in range(60)]
    assert b"00000003" in await exchange(HEAD + b"Content-Length: 3\r\n\r\nabc")
    for each in begun:
        each.cancel()
    await asyncio.wait(begun)
