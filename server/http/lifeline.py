"""The socket between a supervisor and one server process: settings down, beats up; when it ends, both know.

The server's first beat says that it serves. A supervisor that was killed leaves no process behind: its end of
the socket closes with it.
"""

import socket

BEAT = b"."
SETTINGS_BYTES = 64 << 10  # one line; certainly fits the socket's buffer, so nobody waits to write it


class Lifeline:
    """The server's end."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)  # what this process starts has no part in it

    def read_settings(self) -> bytes:
        """The first line; blocks until it is there.

        Raises:
            EOFError: the supervisor is gone.
        """
        line = bytearray()
        while not line.endswith(b"\n"):
            data = self._socket.recv(SETTINGS_BYTES)
            if not data:
                raise EOFError("the supervisor is gone")
            line += data
        self._socket.setblocking(False)
        return bytes(line)

    def beat(self) -> bool:
        """Say that this process lives; returns whether the supervisor does."""
        try:
            self._socket.send(BEAT)
        except BlockingIOError:
            return True  # it is busy; it has beats enough to read
        except OSError:
            return False
        return True
