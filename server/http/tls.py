"""TLS that this process serves itself (RFC 9325): one pair of files, taken up anew when they change.

OpenSSL's own choice of ciphers, TLS 1.2 at least. A pair is looked at whole before it is used, so one that
does not fit refuses the start, and later leaves the old one in force.
"""

import os
import ssl
from datetime import UTC, datetime
from pathlib import Path

import structlog
from cryptography import x509

from server.kernel.metrics import gauge
from server.kernel.tls_files import TlsFiles, TlsNotUsable, reason_of, require_secret

LOOK_S = 60  # between looks at the files
HANDSHAKE_S = 10.0  # from the connection to the end of the handshake; then it is closed
CLOSE_S = 2.0  # that a client has to answer our close_notify; those that rest do not read it

_ENDS = gauge(
    "isthmus_tls_certificate_expiry_timestamp_seconds",
    "When the certificate that is served ends; 0: none is.",
    together="livemax",
)

log = structlog.get_logger(__name__)


_Signature = tuple[tuple[int, int, int], ...]


class ServedTls:
    """What handshakes take: always a pair that fits."""

    def __init__(self, files: TlsFiles) -> None:
        """Read the files.

        Raises:
            TlsNotUsable: they are no such pair.
        """
        self._files = files
        self._seen = _signature(files)
        self.context = load_context(files)  # for as long as the listener lives
        self._current = self.context
        self.context.sni_callback = self._begin  # also called when the client names nobody
        self._tell()

    def look(self) -> bool:
        """Take up the files if they have changed, for handshakes to come; returns whether they were."""
        try:
            signature = _signature(self._files)
            if signature == self._seen:
                return False
            self._current = load_context(self._files)
            self._tell()
            self._seen = signature  # not before: what is wrong now is looked at until it is right
        except TlsNotUsable as problem:
            log.error("the new certificate is not taken up", problem=str(problem))  # noqa: TRY400  it says it all
            return False
        log.info("certificate taken up")
        return True

    def _begin(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _: ssl.SSLContext) -> None:
        if self._current is not self.context:
            connection.context = self._current

    def _tell(self) -> None:
        ends = ends_at(self._files.certificate)
        _ENDS.set(ends.timestamp())
        if ends < datetime.now(UTC):
            log.warning("the certificate that is served has ended", ended=ends.isoformat())


def load_context(files: TlsFiles) -> ssl.SSLContext:
    """A context of this pair, for servers.

    Raises:
        TlsNotUsable: it cannot be read, others may read the key, or one is not the other's.
    """
    require_secret(files.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.certificate, files.key, password=lambda: "")  # never ask a terminal
    except (OSError, ValueError) as problem:  # ssl.SSLError is an OSError
        raise TlsNotUsable(
            f"{files.certificate} and {files.key} are no PEM certificate and its private key"
            f" without a passphrase ({reason_of(problem)})"
        ) from None
    return context


def ends_at(certificate: Path) -> datetime:
    """When the first certificate of a file ends.

    Raises:
        TlsNotUsable: there is none.
    """
    try:
        return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as problem:
        raise TlsNotUsable(f"{certificate} cannot be read ({reason_of(problem)})") from None


def _signature(files: TlsFiles) -> _Signature:
    """What changes when a file does."""
    found = []
    for path in (files.certificate, files.key):
        try:
            status = os.stat(path)  # noqa: PTH116  follows links: a mounted secret is exchanged by one
        except OSError as problem:
            raise TlsNotUsable(f"{path} cannot be read ({reason_of(problem)})") from None
        found.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)
