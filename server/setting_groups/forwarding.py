"""Where the audit trail is forwarded to."""

import re
from pathlib import Path

from pydantic import BaseModel, Field, model_validator

from server.kernel.syslog_target import PORT, SyslogTarget
from server.kernel.tls_files import TlsFiles

_TARGET = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(?::([0-9]{1,5}))?")


class ForwardingSettings(BaseModel):
    """A receiver of syslog messages over TLS, and how both sides are known."""

    audit_syslog: str | None = Field(
        None,
        pattern=f"^(?:{_TARGET.pattern})$",
        description="host[:port] of a syslog receiver (TLS) that gets the audit trail; default: none",
    )
    audit_syslog_authorities: Path | None = Field(
        None, description="PEM file of the authorities its certificate is of; default: the machine's"
    )
    audit_syslog_certificate: Path | None = Field(
        None, description="PEM file of the certificate that this server shows it; default: none"
    )
    audit_syslog_key: Path | None = Field(None, description="PEM file of its private key, 0600")

    @model_validator(mode="after")
    def _client_is_whole(self) -> "ForwardingSettings":
        if (self.audit_syslog_certificate is None) != (self.audit_syslog_key is None):
            raise ValueError("audit_syslog_certificate and audit_syslog_key go together")
        if self.syslog is not None and not 0 < self.syslog.port < 65_536:
            raise ValueError("audit_syslog must be host or host:port")
        return self

    @property
    def syslog(self) -> SyslogTarget | None:
        """The receiver; None: there is none."""
        found = _TARGET.fullmatch(self.audit_syslog or "")
        if found is None:
            return None
        client = None
        if self.audit_syslog_certificate is not None and self.audit_syslog_key is not None:
            client = TlsFiles(self.audit_syslog_certificate, self.audit_syslog_key)
        port = int(found[2]) if found[2] else PORT
        return SyslogTarget(found[1].strip("[]"), port, self.audit_syslog_authorities, client)
