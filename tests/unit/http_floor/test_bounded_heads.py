"""What an HTTP/1.1 connection may hold before anybody is known, on real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from server.http import bounded_heads
from server.http.bounded_heads import MAX_HEAD_BYTES, BoundedHeads

Exchange = Callable[..., Awaitable[bytes]]
READ_BYTES = 256 << 10  # of an event loop at once


async def application(scope: Any, receive: Any, send: Any) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]})
    await send({"type": "http.response.body", "body": b"%08d" % size})


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    """Send pieces over a fresh connection; what came back when it ended, or after one answer."""
    config = uvicorn.Config(application, port=0, http=BoundedHeads, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]

    async def talk(*pieces: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await asyncio.wait_for(reader.read(1 << 16), 10)
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


@pytest.mark.parametrize("begun", [b"", HEAD])
async def test_slow_head_is_not_waited_for(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(bounded_heads, "HEAD_TIMEOUT_S", 0.1)
    assert await exchange(begun) == b""
