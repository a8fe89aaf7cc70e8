"""uvicorn's HTTP/1.1 protocol that waits for no body that does not come (RFC 9110 §15.5.9).

A client that has begun a body and sends next to nothing holds a connection, and what the application has
begun for it: a spool file, a place among those that wait. Only what the client could send counts: while this
side reads nothing, or has not said 100 Continue, nobody is late.
"""

from asyncio import TimerHandle

from server.http.bounded_heads import BoundedHeads

BODY_WINDOW_S = 30.0  # in each such time
BODY_MIN_BYTES = 16 << 10  # at least so much of a body comes; 4.4 kbit/s, and a link may be gone for 29 s

_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class PacedBodies(BoundedHeads):
    """Answers 408, where nothing is answered yet, and closes when a body comes too slowly."""

    _is_open = False  # a body is on its way
    _came = 0  # bytes of it in this window
    _is_excused = False  # the window began while the client had to wait
    _window: TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Begin to look at the clock once a head is whole and its body is not."""
        super().data_received(data)
        if self._is_open and self._window is None and not self.transport.is_closing():
            self._begin_window()

    def on_headers_complete(self) -> None:
        """A head ends, and a body may begin; what is upgraded has none."""
        super().on_headers_complete()
        self._is_open = not self.parser.should_upgrade()

    def on_body(self, body: bytes) -> None:
        """Content comes."""
        self._came += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request ends."""
        self._end_window()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more is waited for."""
        self._end_window()
        super().connection_lost(exc)

    def _begin_window(self) -> None:
        self._came, self._is_excused = 0, self._makes_wait()
        self._window = self.loop.call_later(BODY_WINDOW_S, self._look)

    def _end_window(self) -> None:
        self._is_open = False
        if self._window is not None:
            self._window.cancel()
            self._window = None

    def _makes_wait(self) -> bool:
        """Whether the client cannot send because of this side."""
        return self.flow.read_paused or self.cycle.waiting_for_100_continue

    def _look(self) -> None:
        if self._came >= BODY_MIN_BYTES or self._is_excused or self._makes_wait():
            self._begin_window()
            return
        self._end_window()
        self.logger.warning("Request body too slow.")
        if not self.cycle.response_started:
            self.transport.write(_TOO_SLOW)
        self.transport.close()
