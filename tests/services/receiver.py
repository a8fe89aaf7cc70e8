"""A subscriber: a small HTTP server on loopback that keeps what it is told and answers as a test says."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

STATUS_TEXT = {200: "OK", 302: "Found", 410: "Gone", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Told:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Receiver:
    """What it heard, and what it answers: `status` to every request, with `headers` and `body`."""

    port: int = 0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    told: list[Told] = field(default_factory=list)
    silent: asyncio.Event | None = None  # while set and not yet happened, no request is answered
    _heard: asyncio.Condition = field(default_factory=asyncio.Condition)
    _serving: "set[asyncio.Task[None]]" = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def until_told(self, times: int) -> list[Told]:
        """Everything it was told, once it was told so often."""
        async with self._heard:
            await self._heard.wait_for(lambda: len(self.told) >= times)
        return self.told

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: Any = asyncio.current_task()
        self._serving.add(task)
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self._serving.discard(task)
            writer.close()

    async def stop(self) -> None:
        """End the connections that are open."""
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0)  # the transports close in the loop's next turn

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.strip().split("\r\n")
        method, path, _ = line.split(" ")
        headers = {name.lower(): value for name, value in (each.split(": ", 1) for each in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        async with self._heard:
            self.told.append(Told(method, path, headers, body))
            self._heard.notify_all()
        if self.silent is not None:
            await self.silent.wait()
        said = {"Content-Length": str(len(self.body)), **self.headers}
        answer = [
            f"HTTP/1.1 {self.status} {STATUS_TEXT[self.status]}",
            *(f"{n}: {v}" for n, v in said.items()),
        ]
        writer.write("\r\n".join([*answer, "", ""]).encode() + self.body)
        await writer.drain()
        return True


@asynccontextmanager
async def receiver(tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver that is there within."""
    made = Receiver()
    server = await asyncio.start_server(made.serve, "127.0.0.1", port, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.stop()
