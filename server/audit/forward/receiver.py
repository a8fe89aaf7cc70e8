"""A receiver of syslog messages over TLS (RFC 5425), asked in a thread: one connection takes one batch.

Syslog has no acknowledgement. What stands in for it: we end our side, and the receiver, which has to read all
that comes before that end, ends its side in order (RFC 5425 §4.4). A connection that is reset, or on which
nothing comes any more, counts as not delivered, and its batch is sent again.
"""

import errno
import socket
import ssl
from contextlib import suppress
from time import monotonic

from server.kernel.faults import Busy
from server.kernel.syslog_target import SyslogTarget
from server.kernel.tls_files import TlsNotUsable, require_secret

CONNECT_S = 5.0  # to connect, and to finish the handshake
SEND_S = 15.0  # a batch
END_S = 10.0  # until the receiver has read it all
CHUNK_BYTES = 1 << 16


class ReceiverUnavailable(Busy):
    """The receiver of the audit trail did not take a batch; it is tried again, later each time."""


class Receiver:
    """The one that the settings name."""

    def __init__(self, target: SyslogTarget) -> None:
        self._target = target
        self._socket: socket.socket | None = None

    def send(self, batch: bytes) -> None:
        """Deliver framed messages, all of them; blocks, at most for the sum of the times above.

        Raises:
            ReceiverUnavailable: it did not take them, or it is not known whether it did.
        """
        try:
            self._deliver(batch)
        except (OSError, ValueError, TlsNotUsable) as problem:  # errors of ssl and of names are OSErrors
            told = f"The audit trail is not forwarded: {_described(problem)}."
            raise ReceiverUnavailable(told) from problem
        finally:
            self._socket = None

    def abort(self) -> None:
        """End what is under way, from another thread."""
        if (under_way := self._socket) is not None:
            with suppress(OSError):  # it has just ended
                under_way.shutdown(socket.SHUT_RDWR)

    def _deliver(self, batch: bytes) -> None:
        context = client_context(self._target)
        address = (self._target.host, self._target.port)
        with socket.create_connection(address, CONNECT_S) as plain:
            self._socket = plain
            session = _Session(plain, context, self._target.host)
            session.open()
            session.send(batch)
            session.end()


def client_context(target: SyslogTarget) -> ssl.SSLContext:
    """TLS 1.2 at least; the receiver's name is verified.

    Raises:
        OSError, TlsNotUsable: a file that the settings name cannot be used.
    """
    context = ssl.create_default_context(cafile=target.authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if target.client is not None:
        require_secret(target.client.key)
        context.load_cert_chain(target.client.certificate, target.client.key, password=lambda: "")
    return context


class _Session:
    """TLS over a connected socket, its records moved by us.

    `SSLSocket.unwrap` reads while it ends, and OpenSSL takes a fatal alert for the other side's end: what a
    receiver refuses after our handshake (TLS 1.3: our certificate) would count as delivered. Here our end is
    sent without reading, and what then comes is read as data, where an alert is a fault.
    """

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def open(self) -> None:
        """Finish the handshake, as far as ours goes."""
        ends = monotonic() + CONNECT_S
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush(ends)
                self._receive(ends)
            else:
                self._flush(ends)
                return

    def send(self, batch: bytes) -> None:
        """Send it all."""
        ends, rest = monotonic() + SEND_S, memoryview(batch)
        while rest:
            rest = rest[self._tls.write(rest[:CHUNK_BYTES]) :]
            self._flush(ends)

    def end(self) -> None:
        """End our side, and wait until the receiver has ended its own, with or without saying so in TLS.

        Many close the connection without a word (rsyslog); one that is reset is a fault.
        """
        ends = monotonic() + END_S
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()  # nothing has been received that it could read
        self._flush(ends)
        with suppress(ssl.SSLZeroReturnError, ssl.SSLEOFError):
            while True:
                try:
                    if not self._tls.read(CHUNK_BYTES):
                        return
                except ssl.SSLWantReadError:
                    self._receive(ends)

    def _flush(self, ends: float) -> None:
        self._plain.settimeout(max(ends - monotonic(), 0.001))
        self._plain.sendall(self._outgoing.read())

    def _receive(self, ends: float) -> None:
        self._plain.settimeout(max(ends - monotonic(), 0.001))
        if data := self._plain.recv(CHUNK_BYTES):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


def _described(problem: Exception) -> str:
    if isinstance(problem, TlsNotUsable):
        return str(problem)
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not valid here ({problem.verify_message})"
    if isinstance(problem, ssl.SSLError):
        return f"no TLS with it ({problem.reason})"
    if isinstance(problem, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(problem, TimeoutError):
        return "it does not answer in time"
    code = problem.errno if isinstance(problem, OSError) else None
    return f"the connection fails ({errno.errorcode.get(code or 0, type(problem).__name__)})"
