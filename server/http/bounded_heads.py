"""uvicorn's HTTP/1.1 protocol with bounds on what comes before and after a body (RFC 6585 §5, RFC 9112 §3).

The parser keeps a header or trailer field until it is whole, however long it is, and a connection that says
nothing may stay for ever: both cost memory before anyone has asked for a token.
"""

from asyncio import BaseTransport, TimerHandle

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 << 10  # request line and header fields; a list of 500 UIDs takes half of it
HEAD_TIMEOUT_S = 30.0  # from the first byte, or the connection, to the end of the header

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedHeads(HttpToolsProtocol):
    """Answers 431 to a head or trailer over `MAX_HEAD_BYTES` (and one read), and closes on a slow one."""

    _held = 0  # bytes since a head ended or content came; what the parser may hold at most
    _head_timer: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Wait for the first request, but not for ever."""
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn's own narrowing
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more is waited for."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser as long as it does not hold too much; TLS hands over 256 KiB at once."""
        for at in range(0, len(data), MAX_HEAD_BYTES):
            self._feed(data[at : at + MAX_HEAD_BYTES])
            if self.transport.is_closing():
                return

    def _feed(self, data: bytes) -> None:
        self._held += len(data)
        super().data_received(data)
        if self._held > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.logger.warning("Request header fields too large.")
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._start_head_timer()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head ends."""
        self._stop_head_timer()
        self._held = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Content passes on; the parser keeps none of it."""
        self._held = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request ends."""
        self._held = 0
        super().on_message_complete()

    def _start_head_timer(self) -> None:
        self._stop_head_timer()
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
