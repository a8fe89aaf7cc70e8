"""Where the audit trail is forwarded to, as the settings state it."""

from dataclasses import dataclass
from pathlib import Path

from server.kernel.tls_files import TlsFiles

PORT = 6514  # of syslog over TLS (RFC 5425 §4.1)


@dataclass(frozen=True, slots=True)
class SyslogTarget:
    """A receiver of syslog messages over TLS."""

    host: str  # also the name that its certificate must have
    port: int = PORT
    authorities: Path | None = None  # PEM; None: those that this machine trusts
    client: TlsFiles | None = None  # how we identify ourselves; None: not
