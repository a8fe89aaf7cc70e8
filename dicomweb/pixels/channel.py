"""Messages between the server and a child: lengths, a header in MessagePack, a body of plain bytes.

Never pickle: what the child sends is believed no more than the pixels that it decodes.
"""

import socket
import time
from collections.abc import Mapping
from struct import Struct
from typing import Any

import msgspec

Json = Any

LENGTHS = Struct(">IQ")  # of the header, of the body
LONGEST_WAIT_S = 86_400.0  # of one call; sockets know no infinity
MAX_HEADER_BYTES = 1 << 20
MAX_BODY_BYTES = 320 << 20  # a decoded frame and some

_encode, _decode = msgspec.msgpack.encode, msgspec.msgpack.decode


class ChannelClosed(Exception):
    """The other end is gone, or sent what is no message."""


class Channel:
    """One end of a stream socket; blocking, until a deadline where there is one."""

    def __init__(self, own: socket.socket) -> None:
        self._socket = own
        self._deadline = float("inf")

    def give_up_after(self, seconds: float) -> None:
        """Wait no longer than that for all that follows, from now."""
        self._deadline = time.monotonic() + seconds

    def send(self, header: Mapping[str, Json], body: bytes) -> None:
        """Send one message.

        Raises:
            ChannelClosed: nobody is there.
            TimeoutError: it was not taken in time.
        """
        encoded = _encode(header)
        try:
            self._wait()
            self._socket.sendall(LENGTHS.pack(len(encoded), len(body)) + encoded)
            self._socket.sendall(body)
        except TimeoutError:
            raise
        except OSError:
            raise ChannelClosed from None

    def receive(self) -> tuple[dict[str, Json], bytes]:
        """The next message.

        Raises:
            ChannelClosed: the other end is gone, or sent what is no message.
            TimeoutError: it did not come in time.
        """
        header_length, body_length = LENGTHS.unpack(self._read(LENGTHS.size))
        if header_length > MAX_HEADER_BYTES or body_length > MAX_BODY_BYTES:
            raise ChannelClosed
        try:
            header = _decode(self._read(header_length), type=dict[str, Any])
        except msgspec.MsgspecError:
            raise ChannelClosed from None
        return header, bytes(self._read(body_length))

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            self._wait()
            try:
                count = self._socket.recv_into(view)
            except TimeoutError:
                raise
            except OSError:
                raise ChannelClosed from None
            if not count:
                raise ChannelClosed
            view = view[count:]
        return data

    def _wait(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(min(left, LONGEST_WAIT_S))
