"""A receiver of syslog over TLS, which does its part or not."""

import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.services.certificates import Authority, Pair
from tests.services.postgresql import free_port

TIMEOUT_S = 30


@dataclass
class SyslogReceiver:
    """What came, and how the receiver ends: `close_notify`, `eof`, `reset`, or `never`."""

    port: int
    ends: str = "close_notify"
    messages: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)  # who holds a connection for ever
    gone: threading.Event = field(default_factory=threading.Event)


@contextmanager
def syslog_receiver(pair: Pair, clients: Authority | None = None) -> Iterator[SyslogReceiver]:
    """Runs in a thread, one connection after another; `clients`: whose certificates it demands."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.file)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        receiver = SyslogReceiver(listener.getsockname()[1])
        thread = threading.Thread(target=_serve, args=(listener, context, receiver))
        thread.start()
        try:
            yield receiver
        finally:
            receiver.gone.set()
            receiver.release.set()
            with socket.create_connection(("127.0.0.1", receiver.port), TIMEOUT_S):
                pass  # wakes up accept
            thread.join(TIMEOUT_S)


def _serve(listener: socket.socket, context: ssl.SSLContext, receiver: SyslogReceiver) -> None:
    while True:
        plain, _ = listener.accept()
        plain.settimeout(TIMEOUT_S)
        if receiver.gone.is_set():
            plain.close()
            return
        with suppress(OSError), context.wrap_socket(plain, True, do_handshake_on_connect=False) as secure:
            try:
                secure.do_handshake()
            except OSError:  # the other side, or we, refused it: an alert says so, and no reset
                _read_out(secure)
            else:
                _take(secure, receiver)


def _read_out(secure: ssl.SSLSocket) -> None:
    """Wait until the other side has closed: closed with something unread, a connection is reset."""
    while socket.socket.recv(secure, 65_536):
        pass


def _take(secure: ssl.SSLSocket, receiver: SyslogReceiver) -> None:
    read = bytearray()
    while data := secure.recv(65_536):
        read += data
    while read:
        length, _, rest = bytes(read).partition(b" ")
        receiver.messages.append(rest[: int(length)].decode())
        del read[: len(length) + 1 + int(length)]
    if receiver.ends == "close_notify":
        secure.unwrap()
    elif receiver.ends == "reset":
        secure.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif receiver.ends == "never":
        receiver.release.wait(TIMEOUT_S)


@contextmanager
def rsyslog(folder: Path, pair: Pair, authority: Authority) -> Iterator[tuple[int, Path]]:
    """A real rsyslog with GnuTLS; yields its port and the file to which it writes each message."""
    port, written = free_port(), folder / "messages"
    (folder / "rsyslog.conf").write_text(
        f"""
module(load="imtcp" MaxSessions="10" StreamDriver.Name="gtls" StreamDriver.Mode="1"
       StreamDriver.AuthMode="anon")
global(workDirectory="{folder}" maxMessageSize="64k" DefaultNetstreamDriverCAFile="{authority.file}"
       DefaultNetstreamDriverCertFile="{pair.certificate}" DefaultNetstreamDriverKeyFile="{pair.key}")
input(type="imtcp" port="{port}" address="127.0.0.1")
template(name="whole" type="string" string="%msgid% %pri% %app-name% %msg%\n")
action(type="omfile" file="{written}" template="whole")
"""
    )
    command = ["rsyslogd", "-n", "-f", folder / "rsyslog.conf", "-i", folder / "rsyslog.pid"]
    with (folder / "rsyslog.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield port, written
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)
