"""Requests that this server makes by itself, to listed hosts only (RFC 9110): checked where it connects.

The name is resolved once, its address checked, and that address connected to, so that no second answer of the
name server can lead elsewhere. TLS is verified against the name. No redirect is followed, no proxy of the
environment used, and of the answer nothing is read but its beginning.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

import httpcore

from server.kernel.outbound_policy import DestinationRefused, OutboundPolicy

CONNECT_S = 5.0
ANSWER_S = 10.0  # for the request to be taken, and again for its answer to begin
MAX_REPLY_BYTES = 64 << 10  # of an answer's body; the rest is left unread

_OK = 200
_FAILURES = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError)


class Unreachable(Exception):
    """No answer came; `str()` says in a few words why, without any address."""


@cache
def _trusted() -> ssl.SSLContext:
    """The machine's own authorities (`SSL_CERT_FILE` adds to them), so also those of a hospital."""
    return ssl.create_default_context()


class _Checked(httpcore.AsyncNetworkBackend):
    """Connects to permitted addresses of listed hosts."""

    def __init__(self, policy: OutboundPolicy) -> None:
        self._policy = policy
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if not self._policy.allows_host(host):
            raise DestinationRefused("The host is not among those that this server may connect to.")
        async with asyncio.timeout(timeout):
            address = await self._resolve(host, port)
        return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)

    async def _resolve(self, host: str, port: int) -> str:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        permitted = [
            str(where[0]) for *_, where in found if self._policy.permits(host, str(where[0]))
        ]  # mixed answers: what is permitted is all that is ever connected to
        if not permitted:
            raise DestinationRefused("The host has no address that this server may connect to.")
        return permitted[0]


class Outbound:
    """Connections to listed hosts for one errand: `async with Outbound(policy) as out`."""

    def __init__(self, policy: OutboundPolicy) -> None:
        self._policy = policy
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def __aenter__(self) -> "Outbound":
        self._pool = httpcore.AsyncConnectionPool(_trusted(), network_backend=_Checked(self._policy))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            await self._pool.aclose()

    async def send(self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> int:
        """Make one request; returns the status of its answer.

        Raises:
            DestinationRefused: the settings do not let us connect there.
            Unreachable: nothing answered, or not in HTTP, or TLS could not be verified.
        """
        async with self._answer(method, url, headers, body) as answer:
            await _read_beginning(answer)
            return int(answer.status)

    async def read(self, url: str, media_type: str, max_bytes: int) -> bytes:
        """What GET of a URL answers 200 with.

        Raises:
            DestinationRefused: the settings do not let us connect there.
            Unreachable: nothing answered as above, or with another status, or with more bytes.
        """
        async with self._answer("GET", url, [("Accept", media_type)], b"") as answer:
            if answer.status != _OK:
                raise Unreachable(f"the answer was {answer.status}")
            return await _read_whole(answer, max_bytes)

    async def post_form(
        self, url: str, headers: Sequence[tuple[str, str]], form: Mapping[str, str], max_bytes: int
    ) -> tuple[int, bytes]:
        """What POST of a form is answered: the status, and the body whatever the status.

        Raises:
            DestinationRefused: the settings do not let us connect there.
            Unreachable: nothing answered as above, or with more bytes.
        """
        sent = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Accept", "application/json"),
            *headers,
        ]
        async with self._answer("POST", url, sent, urlencode(form).encode()) as answer:
            return int(answer.status), await _read_whole(answer, max_bytes)

    @asynccontextmanager
    async def _answer(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> AsyncIterator[httpcore.Response]:
        """The answer to one request, to be read within."""
        assert self._pool is not None
        self._policy.require_allowed(url)
        limits = {"connect": CONNECT_S, "read": ANSWER_S, "write": ANSWER_S, "pool": CONNECT_S}
        sent = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]
        try:
            async with asyncio.timeout(2 * (CONNECT_S + ANSWER_S)), AsyncExitStack() as stack:
                stream = self._pool.stream(
                    method, url, headers=sent, content=body, extensions={"timeout": limits}
                )
                yield await stack.enter_async_context(stream)
        except (*_FAILURES, TimeoutError) as error:
            raise Unreachable(_described(error)) from error


async def _read_whole(answer: httpcore.Response, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in answer.aiter_stream():
        body += chunk
        if len(body) > max_bytes:
            raise Unreachable(f"the answer was longer than {max_bytes} bytes")
    return bytes(body)


async def _read_beginning(answer: httpcore.Response) -> None:
    """Read a short answer whole, so that its connection can be used again; leave a long one."""
    read = 0
    async for chunk in answer.aiter_stream():
        read += len(chunk)
        if read > MAX_REPLY_BYTES:
            return


def _described(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "TLS could not be established or verified"
        if isinstance(cause, socket.gaierror):
            return "the host name cannot be resolved"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, TimeoutError | httpcore.TimeoutException):
        return "no answer in time"
    if isinstance(error, httpcore.ConnectError):
        return "no connection"
    return "the connection broke"
