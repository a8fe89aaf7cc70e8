"""Audit messages as syslog messages (RFC 5424), framed for TLS (RFC 5425), as IHE ITI-20 wants. Pure."""

from datetime import UTC, datetime

from server.kernel.clock import SECOND_US

FACILITY = 10  # security and authorization messages (PS3.15 A.6)
NOTICE, WARNING = 5, 4  # severities
MESSAGE_ID = "IHE+RFC-3881"  # ITI-20, section 3.20.4.1.2
APPLICATION = "isthmus"
SUCCESS = "0"  # AuditEvent.outcome

_BOM = "\ufeff"  # what follows is UTF-8 (RFC 5424 §6.4)


def syslog_message(xml: str, recorded_us: int, outcome: str, host: str) -> bytes:
    """One message; `host` is the name of this installation's machine, printable ASCII without blanks."""
    priority = FACILITY * 8 + (NOTICE if outcome == SUCCESS else WARNING)
    recorded = datetime.fromtimestamp(recorded_us / SECOND_US, UTC).isoformat(timespec="microseconds")
    at = recorded.replace("+00:00", "Z")
    header = f"<{priority}>1 {at} {host[:255] or '-'} {APPLICATION} - {MESSAGE_ID} - "
    return (header + _BOM + xml).encode()


def frame(message: bytes) -> bytes:
    """A message as it goes over the wire: its length in octets, a blank, itself (RFC 5425 §4.3)."""
    return b"%d %b" % (len(message), message)
